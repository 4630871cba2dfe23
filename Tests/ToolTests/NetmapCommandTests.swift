internal import Foundation
internal import NetmapCore
internal import NetmapTestSupport
internal import Testing

@Suite("netmap")
struct NetmapCommandTests {
  @Test("--help names the subcommands and shows examples")
  func help() throws {
    let outcome = try Command.netmap.run("--help")
    #expect(outcome.status == 0)
    #expect(outcome.output.contains("EXAMPLES"))
    #expect(outcome.output.contains("bench"))
    #expect(outcome.errors == "")
  }

  @Test("without arguments netmap shows its help")
  func noArguments() throws {
    let outcome = try Command.netmap.run()
    #expect(outcome.status == 0)
    #expect(outcome.output.contains("USAGE: netmap"))
  }

  @Test(
    "each program prints its name and the version of the package",
    arguments: ["netmap", "netmapd", "pkt-gen", "vale-ctl"])
  func version(of program: String) throws {
    let outcome = try Command(path: TestProgram.built(program)).run("--version")
    #expect(outcome.status == 0)
    #expect(outcome.output == "\(program) \(PackageVersion.text)\n")
    #expect(outcome.errors == "")
  }

  @Test("refuses unknown options with status 64")
  func unknownOption() throws {
    let outcome = try Command.netmap.run("--no-such-option")
    #expect(outcome.status == 64)
    #expect(outcome.output == "")
    #expect(outcome.errors.contains("--no-such-option"))
  }
}
