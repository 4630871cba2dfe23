import Glibc
import NetmapTestSupport
import Testing

/// A process may be killed or stopped at any point of an operation.
///
/// `make kill-table` tries every point, in a release build.
@Suite("Kill table", .timeLimit(.minutes(20)))
struct KillTableTests {
  private func run(_ arguments: [String]) throws -> (status: CInt, text: String) {
    let program = try TestProgram([TestProgram.built("kill-table")] + arguments)
    let text = rest(of: program)
    return ((program.wait() >> 8) & 0xff, text)
  }

  // Recording an operation takes seconds in a debug build, so CI runs the other rows in a release build. Two rows at a time
  // take half the time: a tracer and its victim take turns, and so keep one processor busy.
  @Test(
    "everybody survives that a process is killed or stopped at sampled points of an operation",
    arguments: [
      "pipe tx", "forward by swap", "keep packets", "vale tx to one port", "vale rx",
      "sleep beside", "isolated rx", "open and close on a switch", "interface tx, packet",
      "netmapd: worker",
    ])
  func sampled(row: String) throws {
    let (status, text) = try run(["--row", row, "--sample", "8", "--short"])
    print(text)
    #expect(status == 0, "\(text)")
  }

  @Test("a failure is reported, and makes the table fail")
  func failing() throws {
    // The row's receiver finds packets that the row does not expect.
    let (status, text) = try run(["--row", "self-test", "--sample", "2", "--mode", "kill"])
    #expect(status == 1, "\(text)")
    #expect(text.contains("of 2 points survived"), "\(text)")
    #expect(text.contains("kill at"), "\(text)")
  }

  @Test("the table is also written as JSON")
  func json() throws {
    let (status, text) = try run(
      ["--row", "pipe tx", "--sample", "2", "--mode", "kill", "--json"])
    #expect(status == 0, "\(text)")
    #expect(text.contains("\"operation\":\"pipe tx\",\"mode\":\"kill\""), "\(text)")
  }

  @Test(
    "an unknown row, mode or option is an error",
    arguments: [["--row", "nothing"], ["--mode", "nothing"], ["--nothing"], ["--every", "x"]])
  func errors(arguments: [String]) throws {
    let (status, text) = try run(arguments)
    #expect(status == 2, "\(text)")
    #expect(text.contains("kill-table: no "), "\(text)")
  }
}
