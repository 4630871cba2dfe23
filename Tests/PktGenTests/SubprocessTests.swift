import Glibc
import NetmapTestSupport
import Testing
import ToolSupport

@Suite("pkt-gen as a process")
struct SubprocessTests {
  @Test("-h prints the usage text with examples on the standard error stream, and succeeds")
  func help() throws {
    let child = try Child(["-h"])
    #expect(child.wait() == 0)
    #expect(child.output == "")
    #expect(child.errors.hasPrefix("Usage: pkt-gen"))
    #expect(child.errors.contains("Examples"))
    for letter in "46afFNniIldsDSbcopTwWvRXCHrPzZAhBM" {
      #expect(child.errors.contains("-\(letter)"))
    }
  }

  @Test(
    "exit status and message of runs that fail",
    arguments: [
      (["-q"], 255, "bad option -q"), ([], 255, "missing ifname"),
      (["-i", "netmap:nosuch0", "-w0"], 255, "nosuch0"),
      (["-i", "x{1", "-f", "y"], 255, "function y"),
      (["-i", "x{1", "-p2", "-fping"], 1, "can only ping"),
    ] as [([String], CInt, String)])
  func failures(_ row: (arguments: [String], status: CInt, message: String)) throws {
    let child = try Child(row.arguments)
    #expect(child.wait() == row.status)
    #expect(child.errors.contains(row.message))
  }

  @Test("sending to null")
  func null() throws {
    let child = try Child(["-i", "null", "-ftx", "-n1000"])
    #expect(child.wait() == 0)
    #expect(child.output.contains("Sent 1000 packets 60000 bytes 2 events 60 bytes each in "))
  }

  @Test(
    "SIGINT and SIGTERM stop pkt-gen cleanly, with its last lines",
    arguments: [
      (SIGINT, "received control-C on thread 0x"), (SIGTERM, "received SIGTERM on thread 0x"),
    ])
  func stops(_ row: (signal: CInt, message: String)) throws {
    let child = try Child(["-i", "x{1", "-f", "rx"])
    try child.waitFor("reading from")
    child.send(row.signal)
    #expect(child.wait() == 0)
    #expect(child.errors.contains(row.message))
    #expect(child.output.hasSuffix("Received nothing.\n"))
  }

  @Test("a second signal right after the first does not lose the last lines")
  func secondSignal() throws {
    let child = try Child(["-i", "x{1", "-f", "rx"])
    try child.waitFor("reading from")
    // Both signals arrive before the process can act on the first.
    child.send(SIGSTOP)
    child.send(SIGINT)
    child.send(SIGTERM)
    child.send(SIGCONT)
    #expect(child.wait() == 0)
    #expect(child.output.hasSuffix("Received nothing.\n"))
    let notes = child.errors.split(separator: "\n").count { $0.contains("received ") }
    #expect(notes == 1, "\(child.errors)")
  }

  @Test("a second signal after more than a second ends the process at once")
  func lateSignal() throws {
    // Cannot stop, because the pipe of its standard output is full when the first report comes.
    let child = try Child(["-i", "null", "-f", "tx", "-X"])
    try child.waitFor("min_space")
    child.send(SIGINT)
    try child.waitFor("received control-C")
    usleep(1_300_000)
    child.send(SIGINT)
    #expect(child.wait() == -SIGINT)
  }

  @Test("timeout(1), which signals its child and then its process group, gets the last lines")
  func timeoutProgram() throws {
    let child = try Child(["-i", "x{1", "-f", "rx"], under: ["timeout", "-s", "INT", "2"])
    #expect(child.wait() == 124)
    #expect(child.output.hasSuffix("Received nothing.\n"))
  }

  @Test("a signal ends the wait for the link")
  func stopsWhileWaiting() throws {
    let child = try Child(["-i", "x{1", "-f", "tx", "-w", "1000"])
    try child.waitFor("Wait 1000 secs")
    child.send(SIGINT)
    #expect(child.wait() == 0)
    #expect(child.output.hasSuffix("Sent nothing.\n"))
  }
}

/// A pkt-gen process.
private final class Child {
  private let program: TestProgram
  private(set) var output = ""
  private(set) var errors = ""

  /// - Parameters:
  ///   - arguments: The arguments of pkt-gen.
  ///   - starter: The program that starts it, and its arguments.
  /// - Throws: `ProgramError` when it cannot start.
  init(_ arguments: [String], under starter: [String] = []) throws {
    // The tests use their own daemon, which exits when idle, because the host's may be of another build.
    let socket = "/tmp/netmap-pkt-gen-\(getpid())/netmapd.sock"
    program = try TestProgram(
      starter + [TestProgram.built("pkt-gen")] + arguments, environment: ["NETMAP_SOCKET": socket],
      separatesErrors: true)
  }

  func send(_ signal: CInt) { program.send(signal) }

  /// Reads from the error stream until it has `text`.
  func waitFor(_ text: String) throws {
    while !errors.contains(text) {
      let part = program.readErrors()
      try #require(!part.isEmpty, "no '\(text)' in \(errors)")
      errors += part
    }
  }

  /// Waits until the process has ended.
  ///
  /// - Returns: The exit status; the negative number of the signal that ended the process.
  func wait() -> CInt {
    let outcome = program.end()
    output += outcome.output
    errors += outcome.errors
    return outcome.status
  }
}
