import Glibc
import NetmapTestSupport
import Testing

/// Programs that know nothing of netmap, with the C library preloaded.
@Suite("Programs that never use netmap")
struct BystanderTests {
  /// A program and its arguments. Scripts are those of the folder `Bystanders`.
  struct Command: Sendable, CustomTestStringConvertible {
    let arguments: [String]
    /// The programs that it needs.
    let programs: [String]

    init(_ arguments: [String], needs programs: [String] = []) {
      self.arguments = arguments
      self.programs = [arguments[0]] + programs
    }

    static func script(_ interpreter: String, _ name: String, needs programs: [String] = []) -> Self
    {
      let folder = #filePath.split(separator: "/", omittingEmptySubsequences: false).dropLast()
      return Self(
        [interpreter, folder.joined(separator: "/") + "/Bystanders/" + name], needs: programs)
    }

    var testDescription: String { arguments.last ?? "" }
  }

  static let commands: [Command] = [
    Command(["true"]), Command(["false"]),
    .script("bash", "bash.sh"),
    .script("python3", "python.py"),
    .script("sh", "git.sh", needs: ["git"]),
    .script("sh", "make.sh", needs: ["make"]),
    .script("sh", "ssh.sh", needs: ["ssh", "ssh-add", "ssh-agent", "ssh-keygen"]),
  ]

  @Test("A program that never uses netmap behaves as without the library", arguments: commands)
  func sameBehaviour(command: Command) throws {
    for program in command.programs
    where (try? TestProgram(["which", program]).finish())?.status != 0 {
      return try Requirement.skip("\(program) is not installed: make setup")
    }
    let fixture = try DaemonFixture(starts: false)
    let alone = try TestProgram(command.arguments).end()
    let preloaded = try TestProgram(
      command.arguments, environment: CClients.environment(.preloaded, fixture)
    ).end()
    #expect(preloaded.status == alone.status)
    #expect(preloaded.output == alone.output)
    #expect(fixture.files.isEmpty, "netmapd was started: \(fixture.files)")
  }

  @Test("A program that never uses netmap loads only the C half")
  func loadsNoSwift() throws {
    let fixture = try DaemonFixture(starts: false)
    let maps = try TestProgram(
      ["cat", "/proc/self/maps"], environment: CClients.environment(.preloaded, fixture)
    ).end().output
    #expect(maps.contains("libnetmap-c.so"))
    #expect(!maps.contains("libnetmap-half.so"))
  }
}
