import CTrace
import Glibc
import TableSupport

/// Changes each word that a peer can write right after a load of a reader, in each reader:
///
///     race-table [--changes N] [--row NAME]... [--word NAME]... [--seed S] [--round K [--count N]]
///                [--keep FILE] [--failures N] [--verbose] [--json] [--list]
///
/// Prints a table: the reader, its words, and how often a word has changed between check and use. Exits with 1 when a
/// round was not survived.
@main
struct RaceTable {
  static func main() {
    // Addresses of memory are the same in each victim.
    if unsafe getenv("LD_BIND_NOW") == nil {
      unsafe setenv("LD_BIND_NOW", "1", 1)
      unsafe setenv("SWIFT_DETERMINISTIC_HASHING", "1", 1)
      _ = ctrace_fix_addresses()
      var words = unsafe CommandLine.arguments.map { unsafe strdup($0) } + [nil]
      _ = unsafe execv("/proc/self/exe", &words)
    }
    do {
      let options = try RaceOptions(CommandLine.arguments)
      if options.lists { return rows.forEach { print($0.name) } }
      exit(try RaceRunner(options).run() ? 0 : 1)
    } catch {
      print("race-table: \(error)")
      exit(2)
    }
  }

  static let rows: [any RaceRow] = {
    var rows: [any RaceRow] = []
    rows += PipeRace.all
    rows.append(ForwardRace())
    rows += SwitchSendRace.all
    rows += SwitchReceiveRace.all
    rows += WaitRace.all
    rows += WakeRace.all
    rows += WorkerRace.all
    rows.append(CheckRace())
    rows += RepairRace.all
    rows += AttachRace.all
    rows += ReopenRace.all
    rows += InterfaceRace.all
    rows.append(FaultyRace())
    return rows
  }()
}

struct RaceOptions {
  /// Changes of each pair of word and reader.
  var changes = 1000
  var names: [String] = []
  var words: Set<String> = []
  var seed: UInt64 = 1
  /// The first round that is run; nil for as many rounds as the changes need.
  var round: Int?
  /// The rounds that are run from that one on.
  var count = 1
  /// A file with the results of former runs.
  var keep: String?
  /// The most failures of a pair after which the pair ends.
  var failuresMax = 3
  var isVerbose = false
  var isJSON = false
  var lists = false

  init(_ arguments: [String]) throws {
    var rest = arguments.dropFirst()
    func value() throws -> String {
      guard let word = rest.popFirst() else { throw TableError("an option has no value") }
      return word
    }
    func number() throws -> Int {
      let word = try value()
      guard let number = Int(word), number >= 0 else { throw TableError("no number: \(word)") }
      return number
    }
    while let word = rest.popFirst() {
      switch word {
      case "--changes": changes = max(1, try number())
      case "--row": names.append(try value())
      case "--word": words.insert(try value())
      case "--seed": seed = UInt64(try number())
      case "--round": round = try number()
      case "--count": count = max(1, try number())
      case "--keep": keep = try value()
      case "--failures": failuresMax = max(1, try number())
      case "--verbose": isVerbose = true
      case "--json": isJSON = true
      case "--list": lists = true
      default: throw TableError("no such option: \(word)")
      }
    }
  }
}
