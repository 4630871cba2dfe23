import Glibc
import TableSupport

/// Kills or stops a process after each instruction, or at each system call, of each operation:
///
///     kill-table [--every N | --sample N] [--start N] [--row NAME]... [--mode kill|stop|stop-kill]...
///                [--failures N] [--first] [--short] [--json] [--list]
///
/// Prints a table: the operation, the points, and how many of them everybody survived. Exits with 1 when a point
/// was not survived.
@main
struct KillTable {
  static func main() {
    TableProgram.fixAddresses()
    do {
      let options = try TableOptions(CommandLine.arguments)
      if options.lists { return rows.forEach { print($0.name) } }
      let runner = try TableRunner(options)
      exit(try runner.run() ? 0 : 1)
    } catch {
      print("kill-table: \(error)")
      exit(2)
    }
  }

  static let rows: [any KillRow] = {
    var rows: [any KillRow] = [
      PipeSendRow(), PipeReceiveRow(), ForwardRow(isFirst: false), ForwardRow(isFirst: true),
      MonitoredPipeRow(), KeepRow(),
    ]
    rows += ExchangedPipeRow.all
    rows += SwitchSendRow.all
    rows += SwitchReceiveRow.all
    rows += WakeRow.all
    rows += RoomRow.all
    rows.append(SecondSleeperRow())
    rows += IsolatedRow.all
    rows += OpenRow.all
    rows += SyncLoopRow.all
    rows += ProgramRow.all
    rows += InterfaceRow.all
    rows.append(ModuleHostRow())
    rows += DaemonRow.all
    rows.append(SelfTestRow())
    return rows
  }()
}

struct TableOptions {
  /// The distance between two points that are tried.
  var every = 1
  /// The number of points of each row; nil for all, or for every ``every``th.
  var sample: Int?
  /// Whether rows with very long operations are left out.
  var isShort = false
  /// Whether a failure ends the table.
  var endsAtFailure = false
  /// The first point that is tried; nil for a random one below `every`.
  var start: Int?
  var names: [String] = []
  var modes: [KillMode] = []
  var isJSON = false
  var lists = false
  /// The most failures of a row after which the row ends.
  var failuresMax = 8

  init(_ arguments: [String]) throws {
    var rest = TableArguments(arguments)
    while let word = rest.next() {
      switch word {
      case "--every": every = max(1, try rest.number())
      case "--start": start = try rest.number()
      case "--row": names.append(try rest.value())
      case "--mode":
        let word = try rest.value()
        guard let mode = KillMode(rawValue: word) else { throw TableError("no mode: \(word)") }
        modes.append(mode)
      case "--sample": sample = max(1, try rest.number())
      case "--first": endsAtFailure = true
      case "--short": isShort = true
      case "--failures": failuresMax = max(1, try rest.number())
      case "--json": isJSON = true
      case "--list": lists = true
      default: throw TableError("no such option: \(word)")
      }
    }
    if modes.isEmpty { modes = KillMode.allCases }
  }
}
