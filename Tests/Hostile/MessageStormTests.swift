import Glibc
import NetmapTestSupport
import Testing

/// Messages and descriptors that each kind of peer can send, in any order.
///
/// `make message-storm` sends millions of them, in a release build.
@Suite("Message storm", .serialized, .timeLimit(.minutes(hostileMinutes)))
struct MessageStormTests {
  private func run(_ arguments: [String]) throws -> (status: CInt, text: String) {
    let program = try TestProgram([TestProgram.built("message-storm")] + arguments)
    let text = rest(of: program)
    return ((program.wait() >> 8) & 0xff, text)
  }

  @Test(
    "no sequence of messages and descriptors harms another process",
    arguments: ["L", "S", "G", "M", "B"])
  func storm(peer: String) throws {
    try HostileTestbed.asRoot {
      let seed = environmentNumber("NETMAP_STORM_SEED") ?? UInt64.random(in: 1...0xffff_ffff)
      let (status, text) = try run([
        "--kind", peer, "--seconds", "\(10 * min(hostileRounds, 12))", "--control", "3", "--seed",
        "\(seed)",
      ])
      print(text)
      #expect(status == 0, "seed \(seed): \(text)")
    }
  }

  @Test("a bystander that does not go on is reported, with the message that repeats the attack")
  func failing() throws {
    try HostileTestbed.asRoot {
      let (status, text) = try run([
        "--kind", "S", "--seconds", "10", "--control", "1", "--seed", "7", "--self-test",
      ])
      #expect(status == 1, "\(text)")
      #expect(text.contains("S FAILED: bystander, pipe"), "\(text)")
      #expect(text.contains("--kind S --seed 7 --workers 3 --replay "), "\(text)")
    }
  }

  @Test("numbers are also written as JSON")
  func json() throws {
    try HostileTestbed.asRoot {
      let (status, text) = try run([
        "--kind", "L", "--seconds", "2", "--control", "1", "--seed", "7", "--json",
      ])
      #expect(status == 0, "\(text)")
      #expect(text.contains("{\"peer\":\"L\",\"seed\":7,"), "\(text)")
    }
  }

  @Test(
    "an unknown kind or option is an error",
    arguments: [["--kind", "X"], ["--nothing"], ["--seed", "x"], ["--seed"]])
  func errors(arguments: [String]) throws {
    let (status, text) = try run(arguments)
    #expect(status == 2, "\(text)")
    #expect(text.contains("message-storm: "), "\(text)")
  }
}
