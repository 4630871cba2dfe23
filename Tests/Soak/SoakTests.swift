import Glibc
import NetmapTestSupport
import Testing

/// A soak of some seconds succeeds, and each soak notices the mistake of a process.
///
/// `make soak` runs the soaks for as long as `SOAK_SECONDS` says, in a release build.
@Suite("Soaks", .serialized, .timeLimit(.minutes(20)))
struct SoakTests {
  private func soak(_ words: String...) throws -> (status: CInt, text: String) {
    let program = try TestProgram([TestProgram.built("soak")] + words)
    let text = rest(of: program)
    return ((program.wait() >> 8) & 0xff, text)
  }

  @Test(
    "processes that are killed and stopped lose, repeat and damage no packet, and the ledger adds up"
  )
  func kills() throws {
    let (status, text) = try soak("kill", "--seconds", "10")
    #expect(status == 0, "\(text)")
    #expect(text.contains(": equal"), "\(text)")
    print(text)
  }

  @Test("sleeping processes are woken")
  func sleeping() throws {
    let (status, text) = try soak("sleep", "--seconds", "10")
    #expect(status == 0, "\(text)")
    #expect(text.contains("no wake-up was lost"), "\(text)")
    print(text)
  }

  @Test("opens and closes leave nothing behind")
  func opening() throws {
    let (status, text) = try soak("open", "--seconds", "10")
    #expect(status == 0, "\(text)")
    #expect(text.contains("everything has come back"), "\(text)")
    print(text)
  }

  @Test(
    "a mistake of one process makes a soak fail: it writes a dump, and prints how to read it and to repeat the run",
    arguments: [
      ("kill", "lose"), ("kill", "repeat"), ("kill", "damage"), ("sleep", "oversleep"),
      ("open", "leak"),
    ])
  func mistakes(kind: String, fault: String) throws {
    var name = Array("/tmp/netmap-soaks-XXXXXX".utf8CString)
    #expect(unsafe mkdtemp(&name) != nil)
    let folder = String(decoding: name.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    let (status, text) = try soak(
      kind, "--seconds", "20", "--seed", "5", "--fault", fault, "--dumps", folder)
    #expect(status == 1, "\(text)")
    let dump = "\(folder)/netmap-soak-\(kind)-5.dump"
    #expect(text.contains("ports --dump \(dump)"), "\(text)")
    #expect(text.contains("soak \(kind) --seed 5 --seconds 20 --fault \(fault)"), "\(text)")
    let reader = try TestProgram([TestProgram.built("netmap"), "ports", "--dump", dump]).finish()
    #expect(reader.status == 0, "\(reader.output)")
    #expect(reader.output.contains("no findings"), "\(reader.output)")
    unsafe unlink(dump)
    unsafe rmdir(folder)
  }

  @Test(
    "an unknown soak, option or fault is an error",
    arguments: [
      ["nothing"], ["kill", "--nothing"], ["kill", "--fault", "nothing"], ["kill", "--seed", "x"],
    ])
  func errors(words: [String]) throws {
    let program = try TestProgram([TestProgram.built("soak")] + words)
    let text = rest(of: program)
    #expect((program.wait() >> 8) & 0xff == 2, "\(text)")
    #expect(text.contains("soak: no "), "\(text)")
  }
}
