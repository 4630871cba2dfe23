import Glibc
import NetmapTestSupport
import Testing

/// A word that a peer can write may change right after a load of a reader.
///
/// `make race-table` changes each word 100 000 times, in a release build.
@Suite("Race table", .serialized, .timeLimit(.minutes(20)))
struct RaceTableTests {
  private func run(_ arguments: [String]) throws -> (status: CInt, text: String) {
    let program = try TestProgram([TestProgram.built("race-table")] + arguments)
    let text = rest(of: program)
    return ((program.wait() >> 8) & 0xff, text)
  }

  @Test(
    "no reader is harmed by a word that changes right after a load",
    // One row of each kind: recording takes long in a debug build. `make race-table` runs all rows in release.
    arguments: [
      "pipe rx", "forward", "vale tx to one port", "vale rx", "wait, pipe", "worker, to",
      "netmapd: repair", "module host: packets", "keep", "sync loop, pipe",
    ])
  func sampled(row: String) throws {
    let (status, text) = try run(["--row", row, "--changes", "4"])
    print(text)
    #expect(status == 0, "\(text)")
  }

  @Test("a reader that loads a word twice is found, and the failure says how to repeat it")
  func secondLoad() throws {
    let (status, text) = try run(["--row", "self-test", "--changes", "50", "--failures", "1"])
    #expect(status == 1, "\(text)")
    let command = try #require(text.split(separator: "\n").first { $0.contains("--round") })
    let words = command.split(separator: " ")
    let round = words[try #require(words.firstIndex(of: "--round")) + 1]
    #expect(text.contains("signal"), "\(text)")
    let again = try run([
      "--row", "self-test", "--word", "raced1{.tx ring.head", "--round", String(round),
    ])
    #expect(again.status == 1, "\(again.text)")
  }

  @Test("the table is also written as JSON")
  func json() throws {
    let (status, text) = try run(["--row", "pipe rx", "--changes", "2", "--json"])
    #expect(status == 0, "\(text)")
    #expect(text.contains("\"reader\":\"pipe rx\",\"word\":\""), "\(text)")
  }

  @Test(
    "an unknown row, word or option is an error",
    arguments: [
      ["--row", "nothing"], ["--row", "pipe rx", "--word", "nothing"], ["--nothing"],
      ["--changes", "x"],
    ])
  func errors(arguments: [String]) throws {
    let (status, text) = try run(arguments)
    #expect(status == 2, "\(text)")
    #expect(text.contains("race-table: no "), "\(text)")
  }
}
