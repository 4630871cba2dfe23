internal import ArgumentParser
internal import Glibc
internal import NetmapClient
internal import NetmapCore
internal import ToolSupport

/// `netmap exec`: runs a C program for netmap without the kernel module.
struct Exec: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "exec",
    abstract: "Run a C program for netmap, unmodified.",
    usage: "netmap exec [options] [--] PROGRAM [arguments]",
    discussion: """
      Replaces itself with PROGRAM, which finds /dev/netmap although there is none: its calls on netmap descriptors go to \
      a library that is preloaded (LD_PRELOAD), and netmapd starts with the first port. Programs that PROGRAM starts find \
      /dev/netmap too.

      A program that is linked statically, that uses another C library than glibc, or that gets more rights when it starts \
      loads no library. The command then says so, and exits with status 126.

      A program that gives up rights before it opens /dev/netmap (chroot, setuid, seccomp) needs NETMAP_LOAD=early in its \
      environment; the library then connects to netmapd when the program starts.

      A port of a switch sends a packet from the program's own memory (NS_INDIRECT) only with --indirect. Every process on \
      that switch can then have the program send any bytes of its memory, also keys: see netmap(1). Without it, the \
      switch drops such packets and counts them as "indirect".

      The options that give sizes count if this program starts netmapd. They are for programs that open many pipes on an \
      interface, such as lb.

      EXAMPLES
        netmap exec ./bridge -i netmap:eth0 -i vale0:a
        netmap exec bash                       a shell for many programs
        NETMAP_LOAD=early netmap exec ./jailed
        netmap exec --buffers 80000 ./lb -i netmap:eth0 -p 18
      """)

  @Flag(help: "Let ports of switches send any memory of the program (NETMAP_INDIRECT=1).")
  var indirect = false

  @Flag(help: "Write why a request is refused to the program's standard error.")
  var explain = false

  @Option(
    help: ArgumentHelp(
      "Packet buffers that interfaces and the pipes on them share (netmapd --buffers).",
      valueName: "count"))
  var buffers: Int?

  @Option(help: ArgumentHelp("Rings in that memory (netmapd --rings).", valueName: "count"))
  var rings: Int?

  @Option(
    help: ArgumentHelp(
      "Opens of interfaces and pipes on them (netmapd --interfaces).", valueName: "count"))
  var interfaces: Int?

  @Argument(
    parsing: .captureForPassthrough,
    help: ArgumentHelp("The program and its arguments.", valueName: "PROGRAM"))
  var words: [String] = []

  func run() throws {
    var words = words
    if let first = words.first, first == "--help" || first == "-h" {
      throw CleanExit.helpRequest(self)
    }
    if words.first == "--" { words.removeFirst() }
    guard let name = words.first, !name.isEmpty else {
      throw ValidationError("name the program to run: netmap exec PROGRAM")
    }
    guard let path = Self.find(name) else { Tool.fail("\(name): there is no such program", 127) }
    if let obstacle = ProgramFile.obstacle(at: path) {
      Tool.fail("\(path): \(obstacle.reason)\n  \(obstacle.remedy)", Tool.cannotRun)
    }
    Self.prepareEnvironment()
    try applyOptions()
    let code = Tool.execute(path, words)
    Tool.fail("\(path): \(Tool.reason(code))", Tool.cannotRun)
  }

  /// Puts the options into the environment, where the library and the daemon that it starts find them.
  private func applyOptions() throws {
    if indirect { unsafe setenv("NETMAP_INDIRECT", "1", 1) }
    if explain { unsafe setenv("NETMAP_EXPLAIN", "1", 1) }
    let counts = SharedRegionCounts(buffers: buffers, rings: rings, interfaces: interfaces)
    guard counts != SharedRegionCounts() else { return }
    for (name, value) in counts.variables { unsafe setenv(name, "\(value)", 1) }
    let needed: Int
    do throws(NetmapError) {
      needed = RegionLayout(try RegionParameters.global(.fromEnvironment())).byteCount
    } catch {
      throw ValidationError("\(error.reason) (--buffers, --rings, --interfaces)")
    }
    let daemon = try? DaemonConnection(starts: false)
    guard let info = try? daemon?.portInfo(nil), info.memorySize < needed else { return }
    printError(
      "netmap: a netmapd runs that has \(info.memorySize >> 20) MiB for interfaces, and \(needed >> 20) MiB are asked for; "
        + "the sizes count when that one has ended")
  }

  /// The path of a program: the name itself if it has a slash, otherwise a file in `$PATH`.
  private static func find(_ name: String) -> String? {
    guard !name.contains("/") else { return unsafe access(name, F_OK) == 0 ? name : nil }
    let path = unsafe getenv("PATH").map { unsafe String(cString: $0) } ?? "/usr/bin:/bin"
    return path.split(separator: ":").lazy.map { "\($0)/\(name)" }.first {
      unsafe access($0, X_OK) == 0
    }
  }

  /// Has the library loaded, before others that the caller preloads, and tells it where netmapd is.
  private static func prepareEnvironment() {
    let folder = Tool.executableFolder()
    let parent = folder.lastIndex(of: "/").map { String(folder[..<$0]) } ?? ""
    let libraries = ["\(parent)/lib/libnetmap.so.1", "\(folder)/libnetmap-c.so"]
    guard let library = libraries.first(where: { Tool.exists($0) }) else {
      Tool.fail(
        "the C library is not installed; looked for\n  \(libraries.joined(separator: "\n  "))",
        Tool.cannotRun)
    }
    guard !library.contains(where: { $0 == ":" || $0 == " " }) else {
      Tool.fail(
        "\(library): the path of a library that is preloaded contains neither ':' nor ' '",
        Tool.cannotRun)
    }
    let others = unsafe getenv("LD_PRELOAD").map { unsafe String(cString: $0) } ?? ""
    unsafe setenv("LD_PRELOAD", others.isEmpty ? library : "\(library):\(others)", 1)
    for daemon in ["\(parent)/sbin/netmapd", "\(folder)/netmapd"] where Tool.exists(daemon) {
      unsafe setenv("NETMAPD", daemon, 0)
      break
    }
  }
}
