internal import ArgumentParser
internal import NetmapCore

/// The options that give tunables.
struct TunableOptions: ParsableArguments {
  @Option(
    name: .customLong("set"),
    help: ArgumentHelp(
      "Set a tunable of netmap, such as buf_num=40000; repeatable. 'netmap config' lists all of them.",
      valueName: "name=value"))
  var assignments: [String] = []

  @Option(
    help: ArgumentHelp(
      """
      Read tunables from this file instead of \(ConfigurationFile.standardPath), which may be missing. A line is \
      "name = value"; # begins a comment.
      """, valueName: "file"))
  var config: String?

  /// A value that another netmapd has resolved, with its origin; not for users.
  @Option(help: .hidden) var inherited: [String] = []
  /// Whether another netmapd has resolved all tunables: this one reads no file and no variable; not for users.
  @Flag(help: .hidden) var inheritsTunables = false

  func validate() throws {
    do throws(NetmapError) {
      var tunables = try Tunables(assignments: inherited)
      try set(&tunables)
    } catch {
      throw ValidationError("--set \(error.subject): \(error.reason); \(error.remedy)")
    }
  }

  /// Whether the command line sets a tunable.
  func sets(_ tunable: Tunable) -> Bool {
    assignments.contains { (try? Tunable.assignment($0))?.tunable == tunable }
  }

  private func set(_ tunables: inout Tunables) throws(NetmapError) {
    for text in assignments {
      let (tunable, value) = try Tunable.assignment(text)
      try tunables.set(tunable, to: value, by: "--set")
    }
  }

  /// The tunables with which the daemon starts. The command line comes before the environment, and that before the
  /// configuration file.
  ///
  /// - Parameter counts: The sizes that the command line names by options of their own.
  /// - Returns: The tunables.
  /// - Throws: ``NetmapError`` that names the file and line, or the variable, that is wrong.
  func tunables(_ counts: SharedRegionCounts) throws(NetmapError) -> Tunables {
    guard !inheritsTunables else { return try Tunables(assignments: inherited) }
    var result = Tunables()
    if let config {
      try result.set(file: try ConfigurationFile.bytes(config), path: config)
    } else if let bytes = try ConfigurationFile.standardBytes() {
      try result.set(file: bytes, path: ConfigurationFile.standardPath)
    }
    try result.set(
      try .fromEnvironment(), by: ("$NETMAP_BUFFERS", "$NETMAP_RINGS", "$NETMAP_INTERFACES"))
    try result.set(counts, by: ("--buffers", "--rings", "--interfaces"))
    try set(&result)
    return result
  }

  /// The command line with which another netmapd gets the same tunables.
  static func options(for tunables: Tunables) -> [String] {
    ["--inherits-tunables"] + tunables.assignments.flatMap { ["--inherited", $0] }
  }
}
