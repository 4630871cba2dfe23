internal import ArgumentParser
internal import Glibc
internal import NetmapClient
internal import NetmapCore
internal import ToolSupport

/// `netmap config`: shows and sets the tunables of the running netmapd.
struct Config: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "config",
    abstract: "Show and set the tunables of the running netmapd.",
    usage: """
      netmap config [--json]
      netmap config get NAME [--json]
      netmap config set NAME=VALUE...
      """,
    discussion: """
      The tunables have the names of the parameters of netmap's kernel module. For each one the list has its value, its \
      default, where the value comes from, when a new value begins to count, and its meaning:

        at once       from the next sync on
        next open     for ports that are opened after the change
        next region   when the memory that interfaces share is made again: no program may have an interface open then, \
      or a pipe on one
        start         only with netmapd --set, or in its configuration file
        none          never: what it sets in the kernel module does not exist here; the meaning says why
        read-only     it shows what is in use

      "set" is for root and for the user who runs netmapd (others: EPERM), and lasts until netmapd ends. For good, write \
      lines such as "buf_num = 40000" into /etc/netmap/netmapd.conf, which netmapd reads when it starts. See netmapd(8).

      --json prints one object for each tunable and line: name, value, default, from, effect, meaning.

      EXAMPLES
        netmap config
        netmap config get buf_num
        netmap config set bridge_batch=64
        netmap config set no_timestamp=1 fwd=1
        netmap config --json
      """,
    subcommands: [List.self, Get.self, Set.self], defaultSubcommand: List.self)

  /// Runs a request on the running daemon; prints the reason of a refusal, and exits with status 1.
  static func onDaemon<R>(
    _ request: (DaemonConnection) throws(NetmapError) -> R
  ) throws -> R {
    do throws(NetmapError) {
      return try request(try DaemonConnection(starts: false))
    } catch {
      printError(
        error.code.rawValue == ENOENT
          ? "netmap config: no netmapd is running; start a program that uses netmap, or netmapd"
          : "netmap config: \(error)")
      throw ExitCode.failure
    }
  }

  /// The tunable of a name on the command line.
  static func tunable(_ name: String) throws -> Tunable {
    do throws(NetmapError) {
      return try Tunable.named(name)
    } catch {
      throw ValidationError("\(error.subject): \(error.reason); \(error.remedy)")
    }
  }

  static func json(_ state: TunableState) -> String {
    let rule = state.tunable.rule
    var line = JSONLine()
    line.add("name", state.tunable.name)
    line.add("value", state.value)
    line.add("default", rule.standard)
    line.add("from", state.origin)
    line.add("effect", rule.effect.rawValue)
    line.add("meaning", rule.meaning)
    return line.text
  }
}

extension Config {
  /// `netmap config`, without a subcommand.
  struct List: ParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "list", abstract: "List all tunables; the default.")

    @Flag(help: "Print one JSON object for each tunable.")
    var json = false

    func run() throws {
      let states = try Config.onDaemon { (daemon) throws(NetmapError) in try daemon.tunables() }
      if json { return states.forEach { print(Config.json($0)) } }
      let rows = states.map { state -> [String] in
        let rule = state.tunable.rule
        let standard = rule.effect == .readOnly ? "-" : "\(rule.standard)"
        return [
          state.tunable.name, "\(state.value)", standard, state.origin, rule.effect.rawValue,
          rule.meaning,
        ]
      }
      Config.table([["NAME", "VALUE", "DEFAULT", "FROM", "EFFECT", "MEANING"]] + rows)
    }
  }

  /// `netmap config get`.
  struct Get: ParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "get", abstract: "Print the value of a tunable.")

    @Argument(help: ArgumentHelp("The tunable.", valueName: "name"))
    var name: String

    @Flag(help: "Print a JSON object.")
    var json = false

    func run() throws {
      let tunable = try Config.tunable(name)
      let states = try Config.onDaemon { (daemon) throws(NetmapError) in try daemon.tunables() }
      guard let state = states.first(where: { $0.tunable == tunable }) else {
        printError("netmap config: netmapd does not list \(name)")
        throw ExitCode.failure
      }
      print(json ? Config.json(state) : "\(state.value)")
    }
  }

  /// `netmap config set`.
  struct Set: ParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "set", abstract: "Set tunables of the running netmapd.")

    @Argument(help: ArgumentHelp("The tunables and their values.", valueName: "name=value"))
    var assignments: [String]

    func run() throws {
      // All are read before the first one is set.
      let wanted = try assignments.map { text in
        do throws(NetmapError) {
          return try Tunable.assignment(text)
        } catch {
          throw ValidationError("\(error.subject): \(error.reason); \(error.remedy)")
        }
      }
      try Config.onDaemon { (daemon) throws(NetmapError) in
        for (tunable, value) in wanted {
          let state = try daemon.set(tunable, to: value)
          let effect = tunable.rule.effect
          let when =
            effect == .none ? " (no effect: \(tunable.rule.meaning))" : " (\(effect.rawValue))"
          print("\(tunable.name) = \(state.value)\(when)")
        }
      }
    }
  }

  /// Prints rows whose columns are aligned, but for the last one.
  fileprivate static func table(_ rows: [[String]]) {
    let columns = rows.first?.count ?? 0
    let widths = (0..<columns).map { column in rows.map { $0[column].count }.max() ?? 0 }
    for row in rows {
      var line = ""
      for (column, text) in row.enumerated() {
        line += text
        if column < columns - 1 {
          line += String(repeating: " ", count: widths[column] - text.count + 2)
        }
      }
      print(line)
    }
  }
}
