internal import Netmap
internal import ToolSupport

/// The action to perform; only the last one on a command line counts.
enum Action: Hashable {
  case list
  case attach(String, withHost: Bool)
  case detach(String)
  case create(String)
  case remove(String)
  case find(String)
  case information(String)
  case polling(String, isOn: Bool)
  case showModule(String)
  /// `valeS=MODULE`, unparsed.
  case setModule(String)
  case removeModule(String)
}

/// Settings of the action.
struct Options: Hashable {
  /// `-C`, unparsed: some actions take rings, others CPUs.
  var configuration: String?
  /// `-m`: a number, or the name of a port whose memory region to use.
  var memory: String?
  var isVerbose = false
  var isJSON = false
  var showsCounters = false
  /// `--config` and `--config-file`: the module's configuration, or the path of a file that holds
  /// it.
  var moduleConfiguration: String?
  var moduleConfigurationFile: String?
  /// `--fallback`, unparsed.
  var fallback: String?
}

/// Reads the command line by the rules of getopt(3).
enum CommandLineReader {
  enum Outcome: Hashable {
    case action(Action, Options)
    case help
    case wrong(String)
  }

  static func read(_ arguments: [String]) -> Outcome {
    if arguments.isEmpty { return .action(.list, Options()) }
    var scanner = OptionScanner(
      arguments, short: "d:a:h:g:l:n:r:C:p:P:m:v",
      long: [
        "help": false, "json": false, "counters": false, "module": true, "set-module": true,
        "remove-module": true, "config": true, "config-file": true, "fallback": true,
      ])
    var action: Action?
    var options = Options()
    while let item = scanner.next() {
      switch item {
      case .short("v", _): options.isVerbose = true
      case .short(let letter, let value?):
        switch letter {
        case "C": options.configuration = value
        case "m": options.memory = value
        default: action = self.action(letter, value) ?? action
        }
      case .long("help", _): return .help
      case .long("json", _): options.isJSON = true
      case .long("counters", _): options.showsCounters = true
      case .long("config", let value?): options.moduleConfiguration = value
      case .long("config-file", let value?): options.moduleConfigurationFile = value
      case .long("fallback", let value?): options.fallback = value
      case .long("module", let name?): action = .showModule(name)
      case .long("set-module", let text?): action = .setModule(text)
      case .long("remove-module", let name?): action = .removeModule(name)
      case .invalid(let text): return .wrong("bad option \(text)")
      case .operand(let word): return .wrong("unexpected argument \(word)")
      case .short, .long: break
      }
    }
    if let action { return .action(action, options) }
    // Options that only the listing uses select the listing.
    guard options.isJSON || options.showsCounters else { return .wrong("no action given") }
    return .action(.list, options)
  }

  private static func action(_ letter: Character, _ name: String) -> Action? {
    switch letter {
    case "a": .attach(name, withHost: false)
    case "h": .attach(name, withHost: true)
    case "d": .detach(name)
    case "n": .create(name)
    case "r": .remove(name)
    case "l": .find(name)
    case "g": .information(name)
    case "p": .polling(name, isOn: true)
    case "P": .polling(name, isOn: false)
    default: nil
    }
  }
}

enum Usage {
  static let text = """
    Usage: vale-ctl [ACTION] [OPTIONS]

    Without an action: lists every port of every VALE switch.

      -a valeS:IF   attach IF to the switch valeS; with @backpressure after
                    the name, senders to IF wait for room instead of losing packets
      -h valeS:IF   attach IF, and its host stack as a second port
      -d valeS:IF   detach IF
      -n IF         create a persistent port
      -r IF         remove a persistent port
      -l valeS:P    show the indexes of a switch and a port on it
      -g PORT       show the rings and the memory of a port
      -p valeS:IF   poll IF with dedicated threads (with -C)
      -P valeS:IF   stop polling IF

      -C SLOTS[,RX_SLOTS[,RINGS[,RX_RINGS]]]
                    with -n: slots and rings of the port
      -C 0,CPU | 1,CPU,COUNT
                    with -p: one CPU for all rings, or one for each
      --module valeS
                    show the module of a switch, and its counters
      --set-module valeS=MODULE
                    set the module of a switch: learning, hub, balancer,
                    filter, or the path of a shared object (with a slash)
      --remove-module valeS
                    restore the learning bridge
      --config TEXT | --config-file FILE
                    the module's configuration. balancer: its output ports, a,b,...;
                    filter: rules, as 'allow tcp to 10.0.0.0/8 port 80; default deny'
      --fallback learning|stop
                    what the switch does when the process of a shared object ends

      -m MEMORY     memory region: a number, or a port whose region to share
      -v            verbose output
      --counters    with the list: packets, bytes and drops of each port,
                    and drops by reason
      --json        one JSON object per line
      --help        this text

    """
}
