import Glibc
import NetmapTestSupport
import Testing

/// The C programs in `Clients`, compiled with the toolchain's clang into a temporary folder.
///
/// They are programs for netmap without a word of this package's: they use the installed headers, libc, and, one of
/// them, libnetmap.
enum CClients {
  /// How a program gets the C library.
  enum Loading {
    case preloaded
    /// Because the program is linked with `-lnetmap`.
    case linked
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
    for client in [
      "syncs", "waits", "descriptors", "mappings", "loading", "sizes", "legacy", "patterns",
    ] {
      try compile(client, in: folder)
    }
    try compile("library", in: folder, ["-L", folder, "-lnetmap"])
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
    case .preloaded: variables["LD_PRELOAD"] = "\(folder)/libnetmap.so.1"
    case .linked: variables["LD_LIBRARY_PATH"] = folder
    }
    return variables
  }

  /// Runs one test of a program to its end, which must be a success.
  static func expectSuccess(
    _ client: String, _ rule: Rule, _ loading: Loading = .preloaded,
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let fixture = try DaemonFixture()
    let outcome = try TestProgram(
      ["\(folder.get())/\(client)", rule.test], environment: environment(loading, fixture)
    ).end()
    #expect(outcome.status == 0, "\(outcome.output)", sourceLocation: sourceLocation)
    try fixture.expectSound("after \(client) \(rule.test)", sourceLocation: sourceLocation)
  }
}

/// Why the programs could not be made.
struct ClientError: Error {
  let text: String
}
