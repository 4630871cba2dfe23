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
    TableProgram.fixAddresses()
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
    rows.append(MonitoredSendRace())
    rows += MonitoredReceiveRace.all
    rows += ExchangedRace.all
    rows += SwitchSendRace.all
    rows += SwitchReceiveRace.all
    rows += WaitRace.all
    rows += WakeRace.all
    rows += WorkerRace.all
    rows += SyncLoopRace.all
    rows += ProgramMemoryRace.all
    rows += ModuleHostRace.all
    rows.append(KeepRace())
    rows.append(CheckRace())
    rows += RepairRace.all
    rows += AttachRace.all
    rows += ReopenRace.all
    rows += InterfaceRace.all
    rows += TransparentRace.all
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
    var rest = TableArguments(arguments)
    while let word = rest.next() {
      switch word {
      case "--changes": changes = max(1, try rest.number())
      case "--row": names.append(try rest.value())
      case "--word": words.insert(try rest.value())
      case "--seed": seed = UInt64(try rest.number())
      case "--round": round = try rest.number()
      case "--count": count = max(1, try rest.number())
      case "--keep": keep = try rest.value()
      case "--failures": failuresMax = max(1, try rest.number())
      case "--verbose": isVerbose = true
      case "--json": isJSON = true
      case "--list": lists = true
      default: throw TableError("no such option: \(word)")
      }
    }
  }
}
