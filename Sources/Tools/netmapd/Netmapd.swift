internal import ArgumentParser
internal import CLinux
internal import Glibc
internal import Logging
internal import NetmapClient
internal import NetmapCore
internal import NetmapLinuxSetup

/// The program `netmapd`.
@main
struct Netmapd: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "netmapd",
    abstract: "Lets processes share netmap ports: the part that a kernel module would play.",
    discussion: """
      Programs start it by themselves and it leaves when it is idle, so it need not be run by hand. \
      It is in no packet's way: programs that run go on when it ends. Network interfaces it opens for \
      whoever may use it, in the network namespace of the process that asks.

      It listens on $NETMAP_SOCKET if that is set; else root's on /run/netmap/netmapd.sock, for \
      root and the group netmap, and another user's on $XDG_RUNTIME_DIR/netmap/netmapd.sock, for \
      that user alone.

      EXAMPLES
        netmapd                                   in the background, until it is killed
        netmapd --foreground --log-level debug    in this terminal, telling everything
        netmapd --idle-exit 60                    until no port has been open for a minute
        NETMAP_SOCKET=/tmp/x.sock netmapd         a world of its own
      """,
    version: "netmapd 0.1.0")

  @Flag(help: "Stay in this terminal, and log to it.")
  var foreground = false

  @Option(help: ArgumentHelp("Where to listen.", valueName: "path"))
  var socket: String?

  @Option(
    help: ArgumentHelp(
      "A socket that listens already, by descriptor number; systemd's is found by itself.",
      valueName: "number"))
  var listener: Int32?

  @Option(
    help: ArgumentHelp(
      "Exit after so many seconds without an open port; 0 to stay.", valueName: "seconds"))
  var idleExit = 0.0

  @Flag(
    help: """
      Let every user open ports, those other than root and this daemon's own isolated ones only \
      (see netmapd(8)).
      """)
  var isolateOthers = false

  @Option(
    help: ArgumentHelp(
      """
      Listen there as well; can be given several times. With :isolated everybody who connects there \
      gets isolated ports only, root included: for containers.
      """, valueName: "path[:isolated]"))
  var listen: [String] = []

  @Option(
    help: ArgumentHelp(
      """
      A port that those who get isolated ports may share with others, or the beginning of the names \
      of several and a *; can be given several times.
      """, valueName: "name"))
  var allowIsolated: [String] = []

  @Flag(help: "Run no modules of switches from shared objects.")
  var noModules = false

  @Flag(
    help: """
      Take off filters that a netmapd which has been killed has left on interfaces, and exit: needed on \
      Linux before 6.6 only.
      """)
  var undo = false

  @Option(
    help: ArgumentHelp(
      "trace, debug, info, notice, warning, error or critical.", valueName: "level"))
  var logLevel = "info"

  /// With this option root's netmapd starts the broker, which handles input from clients; not for users.
  @Flag(help: .hidden) var broker = false

  @OptionGroup(visibility: .hidden) var hosting: ModuleHosting

  func validate() throws {
    guard idleExit >= 0, idleExit <= 31_536_000 else {
      throw ValidationError("--idle-exit is a number of seconds, 0 to 31536000")
    }
    guard Logger.Level(rawValue: logLevel) != nil else {
      throw ValidationError(
        "--log-level is one of "
          + Logger.Level.allCases.map(\.rawValue).joined(separator: ", "))
    }
  }

  func run() throws {
    // The kernel would name a process that netmapd starts through /proc/self/exe "exe".
    unsafe clinux_set_process_name(
      broker ? "netmapd-broker" : hosting.isHost ? "netmapd-module" : "netmapd")
    do throws(NetmapError) {
      let address =
        if let socket { try DaemonAddress(path: socket) } else { try DaemonAddress.own() }
      if try hosting.runs(address) { return }
      if undo { return OwnInterfaceRights.undoStaleEverywhere() }
      if broker { return try serveAsBroker(address) }
      let listening = try listeningSocket(address)
      if foreground {
        try serve(listening.file, address, isSystemds: listening.isSystemds)
      } else {
        try detach(listening.file, address, listening.log)
      }
    } catch {
      tell("netmapd: \(error)\n")
      throw ExitCode.failure
    }
  }

  private func tell(_ text: String) {
    var text = text
    _ = text.withUTF8 { unsafe write(STDERR_FILENO, $0.baseAddress, $0.count) }
  }
}
