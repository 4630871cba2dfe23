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
    guard options.isJSON || options.showsCounters else { return .wrong("there is nothing to do") }
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

      -a valeS:IF   attach IF to the switch valeS; with @backpressure behind
                    the name nothing is dropped there: its senders wait
      -h valeS:IF   attach IF, and its host stack as a second port
      -d valeS:IF   detach IF
      -n IF         create a persistent port
      -r IF         remove it
      -l valeS:P    show the indexes of a port
      -g PORT       show rings and memory of a port
      -p valeS:IF   poll IF by threads of its own (with -C)
      -P valeS:IF   stop that

      -C SLOTS[,RX_SLOTS[,RINGS[,RX_RINGS]]]
                    rings of a port, with -n
      -C 0,CPU | 1,CPU,COUNT
                    with -p: one CPU for all rings, or one for each
      --module valeS
                    show the module of a switch, and what it has counted
      --set-module valeS=MODULE
                    have a switch work by a module: learning, hub, balancer,
                    filter, or the path of a shared object (with a slash)
      --remove-module valeS
                    back to the learning bridge
      --config TEXT | --config-file FILE
                    what a module is told. balancer: its output ports, a,b,...;
                    filter: rules, as 'allow tcp to 10.0.0.0/8 port 80; default deny'
      --fallback learning|stop
                    what happens when a shared object's process ends

      -m MEMORY     memory region: a number, or a port whose memory is used
      -v            say more
      --counters    with the list: packets, bytes and drops of each port,
                    by reason
      --json        one JSON object a line
      --help        this text

    """
}
