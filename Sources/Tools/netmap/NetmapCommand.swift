internal import ArgumentParser
internal import NetmapCore

/// The `netmap` command: its subcommands, and access to the other tools of the package.
@main
struct NetmapCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "netmap",
    abstract: "Network rings in shared memory, without a kernel module.",
    usage: """
      netmap <subcommand> [options]
      netmap TOOL [arguments]
      """,
    discussion: """
      TOOL is any other tool of the package, such as pkt-gen. Installed tools are in libexec/netmap, so \
      that they do not collide with other programs of the same names; in a build folder they are next \
      to netmap.

      EXAMPLES
        netmap bench --quick                  all measurements, in less than 30 s
        netmap bench --case pipe-2t --json    two threads over a pipe, as JSON
        netmap exec ./bridge -i eth0          run a C program for netmap
        netmap capture netmap:eth0 -w FILE    the packets of an open port, for tshark
        netmap config                         the tunables of netmapd
        netmap doctor eth0                    which backend an interface would get, and why
        netmap ports                          open ports and their processes
        netmap pkt-gen -h                     run the tool pkt-gen
      """,
    version: PackageVersion.line(of: "netmap"),
    subcommands: [
      Bench.self, Capture.self, Config.self, Doctor.self, Exec.self, Ports.self, BenchSender.self,
      BenchPonger.self,
      ValeSender.self,
    ])

  static func main() {
    let arguments = Array(CommandLine.arguments.dropFirst())
    if let tool = arguments.first, !tool.hasPrefix("-"), !ownSubcommands.contains(tool) {
      Tool.replaceProcess(with: tool, arguments: Array(arguments.dropFirst()))
    }
    main(nil)
  }

  private static var ownSubcommands: Set<String> {
    Set(configuration.subcommands.compactMap { $0.configuration.commandName } + ["help"])
  }
}
