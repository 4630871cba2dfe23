import Glibc
import NetmapTestSupport
import Testing

/// The C programs in `Clients`, compiled with the toolchain's clang into a temporary folder.
///
/// They are programs for netmap without a word of this package's: they use the installed headers, libc, and, one of
/// them, libnetmap.
enum CClients {
  /// How a program gets the C library.
  enum Loading: Sendable, CaseIterable {
    case preloaded
    /// Because the program is linked with `-lnetmap`.
    case linked
  }

  /// Programs that run with both, each built for either.
  private static let both = [
    "syncs", "waits", "descriptors", "mappings", "passing", "rings", "requests", "modes",
    "monitors",
    "pointers", "variants", "indirect", "failures", "exhaustion", "epoll", "interfaces", "device",
    "sandbox",
    "waiting", "sizes", "legacy", "patterns", "extmem", "loops", "tunables",
  ]

  /// The library that programs with the C library must load first: the runtime of a sanitizer, in `make check-full`.
  private static let runtime = unsafe getenv("NETMAP_TEST_RUNTIME").map {
    unsafe String(cString: $0)
  }

  private static let package = #filePath.split(separator: "/", omittingEmptySubsequences: false)
    .dropLast(4).joined(separator: "/")

  /// The folder with the programs and the C library, made at the first use and removed when the process exits.
  static let folder: Result<String, any Error> = Result {
    var name = Array("/tmp/netmap-clients-XXXXXX".utf8CString)
    guard unsafe mkdtemp(&name) != nil else { throw ClientError(text: "mkdtemp: errno \(errno)") }
    let folder = String(decoding: name.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    atexit {
      guard let folder = try? CClients.folder.get() else { return }
      _ = try? TestProgram.output(of: ["rm", "-r", folder])
    }
    // As they are installed.
    for (name, built) in [
      ("libnetmap.so.1", "libnetmap-c.so"), ("libnetmap.so", "libnetmap-c.so"),
      ("libnetmap-half.so", "libnetmap-half.so"),
    ] {
      let target = TestProgram.built(built)
      guard unsafe access(target, R_OK) == 0 else {
        throw ClientError(text: "\(target) is missing")
      }
      _ = unsafe symlink(target, "\(folder)/\(name)")
    }
    let linking =
      ["-L", folder, "-Wl,--no-as-needed", "-lnetmap"]
      + (runtime == nil ? [] : ["-Wl,--allow-shlib-undefined"])
    for client in both {
      // As distributions compile: the checked variants, and those for files of any size.
      let options =
        client == "variants" ? ["-D_FORTIFY_SOURCE=2", "-D_FILE_OFFSET_BITS=64"] : []
      try compile(client, in: folder, options)
      try compile(client, in: folder, options + linking, as: "\(client)-linked")
    }
    try compile("loading", in: folder)
    try compile("library", in: folder, linking)
    try compile("syncs", in: folder, ["-static"], as: "static")
    return folder
  }

  private static func compile(
    _ client: String, in folder: String, _ options: [String] = [], as name: String? = nil
  ) throws {
    _ = try TestProgram.output(
      of: [
        "clang", "-O1", "-Wall", "-Wextra", "-Werror", "-I", "\(package)/Sources/CNetmap/include",
        "\(package)/Tests/Conformance/Clients/\(client).c", "-o", "\(folder)/\(name ?? client)",
      ] + options)
  }

  /// The variables with which a program has the C library.
  static func environment(_ loading: Loading, _ fixture: DaemonFixture) throws -> [String: String] {
    let folder = try folder.get()
    var variables = [
      "NETMAP_SOCKET": fixture.socket, "NETMAPD": TestProgram.built("netmapd"),
    ]
    switch loading {
    case .preloaded:
      variables["LD_PRELOAD"] = [runtime, "\(folder)/libnetmap.so.1"].compactMap(\.self)
        .joined(separator: ":")
    case .linked:
      variables["LD_LIBRARY_PATH"] = folder
      variables["LD_PRELOAD"] = runtime
    }
    return variables
  }

  /// Runs one test of a program to its end, which must be a success, with a netmapd that must be in order afterwards.
  ///
  /// - Parameters:
  ///   - client: The program.
  ///   - rule: The test.
  ///   - loading: How the program gets the library.
  ///   - variables: More variables of its environment.
  ///   - startsDaemon: Whether netmapd runs before the program. Otherwise the program starts it, and it ends by itself.
  ///   - sourceLocation: The test.
  /// - Throws: An error when the program cannot be started.
  static func expectSuccess(
    _ client: String, _ rule: Rule, _ loading: Loading = .preloaded,
    with variables: [String: String] = [:], startsDaemon: Bool = true,
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let fixture = try DaemonFixture(starts: startsDaemon)
    let passed = try run(client, rule, loading, fixture, variables, sourceLocation)
    if !startsDaemon {
      fixture.waitUntilGone(within: .seconds(60))
    }
    let isSound =
      try !startsDaemon
      || fixture.isSound("after \(client) \(rule.test)", sourceLocation: sourceLocation)
    if passed && isSound { Claim.record(rule.claims, by: rule.text) }
  }

  /// Runs one test of a program to its end, which must be a success, with a netmapd that may be missing.
  static func expectSuccess(
    _ client: String, _ rule: Rule, _ loading: Loading, _ fixture: DaemonFixture,
    with variables: [String: String] = [:], sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    if try run(client, rule, loading, fixture, variables, sourceLocation) {
      Claim.record(rule.claims, by: rule.text)
    }
  }

  private static func run(
    _ client: String, _ rule: Rule, _ loading: Loading, _ fixture: DaemonFixture,
    _ variables: [String: String], _ sourceLocation: SourceLocation
  ) throws -> Bool {
    let program = loading == .linked && both.contains(client) ? "\(client)-linked" : client
    var environment = try environment(loading, fixture).merging(variables) { $1 }
    if let daemon = fixture.daemon { environment["NETMAP_TEST_DAEMON"] = "\(daemon.process)" }
    let outcome = try TestProgram(
      ["\(folder.get())/\(program)", rule.test], environment: environment
    ).end()
    #expect(outcome.status == 0, "\(outcome.output)", sourceLocation: sourceLocation)
    return outcome.status == 0
  }
}

/// Why the programs could not be made.
struct ClientError: Error {
  let text: String
}
