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
    abstract: "Lets processes share netmap ports, without a kernel module.",
    discussion: """
      Programs start netmapd on demand, and it exits when it is idle, so there is no need to start it \
      manually. Running programs continue when it ends: except for isolated ports and interfaces on \
      switches, netmapd is not on the packet path. It opens network interfaces for all processes that \
      may use it, in the network namespace of the requesting process.

      It listens on $NETMAP_SOCKET if that variable is set. Otherwise root's netmapd listens on \
      /run/netmap/netmapd.sock, for root and the group netmap, and a user's netmapd on \
      $XDG_RUNTIME_DIR/netmap/netmapd.sock, for that user only.

      EXAMPLES
        netmapd                                   in the background, until a signal ends it
        netmapd --foreground --log-level debug    in this terminal, with debug messages
        netmapd --idle-exit 60                    exit after a minute without an open port
        netmapd --set buf_num=40000               more memory for interfaces
        NETMAP_SOCKET=/tmp/x.sock netmapd         a separate set of ports
      """,
    version: PackageVersion.line(of: "netmapd"))

  @Flag(help: "Stay in this terminal, and log to it.")
  var foreground = false

  @Option(help: ArgumentHelp("The path of the socket to listen on.", valueName: "path"))
  var socket: String?

  @Option(
    help: ArgumentHelp(
      "The descriptor of a listening socket. netmapd finds systemd's socket without this option.",
      valueName: "number"))
  var listener: Int32?

  @Option(
    help: ArgumentHelp(
      "Exit after this many seconds without an open port; 0 to stay.", valueName: "seconds"))
  var idleExit = 0.0

  @Flag(
    help: """
      Let every user open ports. Users other than root and this daemon's user get isolated ports only \
      (see netmapd(8)).
      """)
  var isolateOthers = false

  @Option(
    help: ArgumentHelp(
      """
      Also listen on this path; repeatable. With :isolated every client that connects there gets \
      isolated ports only, including root: for containers.
      """, valueName: "path[:isolated]"))
  var listen: [String] = []

  @Option(
    help: ArgumentHelp(
      """
      A port that clients with isolated ports may share with other clients, or a prefix of port names \
      followed by *; repeatable.
      """, valueName: "name"))
  var allowIsolated: [String] = []

  @Option(
    help: ArgumentHelp(
      """
      The number of packet buffers that interfaces and the pipes on them share, 4 to 1000000; 16384 by \
      default, and four times the slots of the first interface if those are more. AF_XDP locks this memory, 2 KiB for each.
      """, valueName: "count"))
  var buffers: Int?

  @Option(
    help: ArgumentHelp(
      "The number of rings that interfaces and the pipes on them share, 2 to 1024; 200 by default, and more for an interface with many.",
      valueName: "count"))
  var rings: Int?

  @Option(
    help: ArgumentHelp(
      "The number of opens of interfaces and of the pipes on them, 10 to 10000; 100 by default.",
      valueName: "count"))
  var interfaces: Int?

  @Flag(
    help: """
      Move packets between the two ends of a veth in shared memory, not through the kernel, while both \
      ends are open (see netmapd(8)).
      """)
  var joinVeths = false

  @OptionGroup var tuning: TunableOptions

  @Flag(help: "Refuse switch modules from shared objects.")
  var noModules = false

  @Flag(
    help: """
      Remove filters that a killed netmapd has left on interfaces, and exit; only needed before \
      Linux 6.6.
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
      throw ValidationError("--idle-exit must be a number of seconds, 0 to 31536000")
    }
    do throws(NetmapError) {
      _ = try RegionParameters.global(regionOptions)
    } catch {
      throw ValidationError("\(error.reason) (--buffers, --rings, --interfaces)")
    }
    for (tunable, option, value) in [
      (Tunable.bufferCount, "--buffers", buffers), (.ringCount, "--rings", rings),
      (.interfaceCount, "--interfaces", interfaces),
    ] where value != nil && tuning.sets(tunable) {
      throw ValidationError("\(option) and --set \(tunable.name) mean the same: give one of them")
    }
    guard Logger.Level(rawValue: logLevel) != nil else {
      throw ValidationError(
        "--log-level must be one of "
          + Logger.Level.allCases.map(\.rawValue).joined(separator: ", "))
    }
  }

  /// The sizes that the command line names.
  var regionOptions: SharedRegionCounts {
    SharedRegionCounts(buffers: buffers, rings: rings, interfaces: interfaces)
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
      // Before there is a socket: an error must not leave one behind that no process serves.
      let tunables = try tuning.tunables(regionOptions)
      let listening = try listeningSocket(address)
      if foreground {
        try serve(listening.file, address, tunables, isSystemds: listening.isSystemds)
      } else {
        try detach(listening.file, address, tunables, listening.log)
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
