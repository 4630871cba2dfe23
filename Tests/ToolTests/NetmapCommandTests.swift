internal import Foundation
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

  @Test("--version prints a version")
  func version() throws {
    let outcome = try Command.netmap.run("--version")
    #expect(outcome.status == 0)
    #expect(outcome.output.split(separator: ".").count == 3)
  }

  @Test("refuses unknown options with status 64")
  func unknownOption() throws {
    let outcome = try Command.netmap.run("--no-such-option")
    #expect(outcome.status == 64)
    #expect(outcome.output == "")
    #expect(outcome.errors.contains("--no-such-option"))
  }
}
