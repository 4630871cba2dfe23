import Glibc
import NetmapTestSupport
import Testing

/// Programs that are linked with the installed C library.
@Suite("The installed C library")
struct InstalledLibraryTests {
  /// Installs the library and netmapd below a folder, in the places of `make install`.
  private func install(in folder: String) throws {
    let library = "\(folder)/lib/netmap/libnetmap-half.so"
    _ = try TestProgram.output(
      of: ["mkdir", "-m", "755", "\(folder)/lib", "\(folder)/lib/netmap", "\(folder)/sbin"])
    for (built, place) in [
      ("libnetmap-c.so", "\(folder)/lib/libnetmap.so.1"), ("libnetmap-half.so", library),
      ("netmapd", "\(folder)/sbin/netmapd"),
    ] {
      _ = try TestProgram.output(of: ["cp", TestProgram.built(built), place])
    }
  }

  /// Runs a linked program that has no netmapd in its environment.
  private func run(_ fixture: DaemonFixture) throws -> TestProgram.Outcome {
    try TestProgram(
      ["\(CClients.folder.get())/library", "ports"],
      environment: [
        "NETMAP_SOCKET": fixture.socket, "LD_LIBRARY_PATH": "\(fixture.folder)/lib",
        "PATH": "/usr/bin:/bin", "NETMAP_EXPLAIN": "1",
      ], separatesErrors: true
    ).end()
  }

  @Test("A linked program starts the netmapd of the library's installation")
  func findsDaemon() throws {
    let fixture = try DaemonFixture(starts: false)
    try install(in: fixture.folder)
    let outcome = try run(fixture)
    #expect(outcome.status == 0, "\(outcome.output)\(outcome.errors)")
    #expect(fixture.files.contains("netmapd.sock"))
    fixture.waitUntilGone(within: .seconds(60))
  }

  @Test(
    "A linked program starts no netmapd from a folder that all users may write to, and says why")
  func avoidsWritableFolder() throws {
    let fixture = try DaemonFixture(starts: false)
    try install(in: fixture.folder)
    unsafe chmod("\(fixture.folder)/sbin", 0o777)
    let outcome = try run(fixture)
    #expect(outcome.status == 1)
    #expect(outcome.errors.contains("libnetmap: cannot open /dev/netmap:"))
    #expect(outcome.errors.contains("neither next to this one nor in PATH"))
    // Two opens fail.
    #expect(outcome.errors.split(separator: "\n").count { $0.hasPrefix("libnetmap: ") } == 2)
  }
}
