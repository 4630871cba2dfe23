import CStorm
import Glibc
import StormAttack

/// Attacks netmapd by messages and descriptors, as each kind of peer, and watches bystanders meanwhile:
///
///     message-storm [--messages N | --seconds N] [--kind L|S|G|M|B]... [--seed N] [--workers N]
///                   [--progress FOLDER] [--replay MESSAGE] [--json]
///
/// Prints a table. Exits with 1 when a promise of the threat model was not kept, and then prints the seed and the
/// number of the message that repeat the attack. With `--progress` a run goes on where the last one with this folder
/// ended.
@main
struct MessageStorm {
  static func main() {
    let words = Array(CommandLine.arguments.dropFirst())
    do {
      switch words.first {
      case "attack":
        cstorm_die_with_parent()
        guard let place = StormPlace(words: words.dropFirst().prefix(6)),
          let episodes = StormEpisodes(words: words.dropFirst(7).prefix(5)), words.count >= 13
        else { throw StormError("an attack needs 12 words") }
        let board = try StormBoard(words[12])
        if place.peer == .module {
          try ModuleLoader(place, board, boardPath: words[12]).run(episodes)
        } else {
          try StormAttacker.run(place, board, episodes)
        }
      case "hang":
        cstorm_die_with_parent()
        guard words.count >= 9, let place = StormPlace(words: words.dropFirst().prefix(6)),
          let seed = UInt64(words[7])
        else { throw StormError("a hanging attack needs 8 words") }
        HangingClose.run(place, try StormBoard(words[8]), seed: seed)
      case "busy":
        cstorm_die_with_parent()
        while getppid() != 0 {}
      case "opener":
        cstorm_die_with_parent()
        guard words.count >= 3 else { throw StormError("an opener needs 2 words") }
        try LoneOpener(words[1], try StormBoard(words[2])).run()
      default:
        let options = try StormOptions(words)
        exit(StormRunner(options).run() ? 0 : 1)
      }
    } catch {
      say("message-storm: \(error)")
      exit(2)
    }
  }

  static func say(_ text: String) {
    let bytes = [UInt8]("\(text)\n".utf8)
    _ = write(1, bytes, bytes.count)
  }
}

struct StormOptions {
  var messages: UInt64 = 2_000_000
  /// How long to attack as each kind of peer; nil for a number of messages.
  var seconds: Int?
  var peers: [StormPeer] = []
  var seed: UInt64?
  var workers = 3
  /// Where the state of the run is kept; nil for nowhere.
  var progress: String?
  /// The number of a message to repeat.
  var replay: UInt64?
  var isJSON = false
  /// Whether to kill a bystander in the middle, which must be reported.
  var isSelfTest = false
  /// How long the run without an attack takes, seconds.
  var controlSeconds = 5

  init(_ words: [String]) throws {
    var rest = words[...]
    func value() throws -> String {
      guard let word = rest.popFirst() else { throw StormError("an option has no value") }
      return word
    }
    func number() throws -> UInt64 {
      let word = try value()
      guard let number = UInt64(word) else { throw StormError("no number: \(word)") }
      return number
    }
    while let word = rest.popFirst() {
      switch word {
      case "--messages": messages = try number()
      case "--seconds": seconds = Int(clamping: try number())
      case "--control": controlSeconds = Int(clamping: try number())
      case "--kind":
        let word = try value()
        guard let peer = StormPeer(rawValue: word) else { throw StormError("no kind: \(word)") }
        peers.append(peer)
      case "--seed": seed = try number()
      case "--workers": workers = Int(min(max(1, try number()), 16))
      case "--progress": progress = try value()
      case "--replay": replay = try number()
      case "--json": isJSON = true
      case "--self-test": isSelfTest = true
      default: throw StormError("no such option: \(word)")
      }
    }
    if peers.isEmpty { peers = StormPeer.allCases }
  }
}
