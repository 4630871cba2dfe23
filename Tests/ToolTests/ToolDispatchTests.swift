internal import Foundation
internal import NetmapTestSupport
internal import Testing

// The tools here are links to programs of the system, so that the tests execute no file that they write.
@Suite("netmap TOOL")
struct ToolDispatchTests {
  @Test("runs an installed tool with its arguments")
  func installed() throws {
    let folder = try TemporaryFolder()
    try folder.makeFolder("bin")
    try folder.makeFolder("libexec/netmap")
    try folder.makeLink("libexec/netmap/say", to: "/bin/echo")
    let netmap = try folder.installNetmap(as: "bin/netmap")

    let outcome = try netmap.run("say", "a b", "-x", "--json")
    #expect(outcome.output == "a b -x --json\n")
    #expect(outcome.status == 0)
  }

  @Test("runs a tool in the same build folder")
  func beside() throws {
    let folder = try TemporaryFolder()
    try folder.makeLink("say", to: "/bin/echo")
    let netmap = try folder.installNetmap(as: "netmap")

    let outcome = try netmap.run("say", "one", "two three")
    #expect(outcome.output == "one two three\n")
    #expect(outcome.status == 0)
  }

  @Test("finds the tool when started through a symbolic link")
  func symbolicLink() throws {
    let folder = try TemporaryFolder()
    try folder.makeFolder("build")
    try folder.makeFolder("elsewhere")
    try folder.makeLink("build/say", to: "/bin/echo")
    _ = try folder.installNetmap(as: "build/netmap")
    try folder.makeLink("elsewhere/netmap", to: folder.path + "/build/netmap")

    let outcome = try Command(path: folder.path + "/elsewhere/netmap").run("say", "hello")
    #expect(outcome.output == "hello\n")
  }

  @Test("an installed netmap does not run other programs in its folder")
  func otherPrograms() throws {
    let folder = try TemporaryFolder()
    try folder.makeFolder("bin")
    try folder.makeFolder("libexec/netmap")
    try folder.makeLink("bin/say", to: "/bin/echo")
    let netmap = try folder.installNetmap(as: "bin/netmap")

    let outcome = try netmap.run("say", "hello")
    #expect(outcome.output == "")
    #expect(outcome.status == 64)
  }

  @Test("passes on the exit status of the tool")
  func status() throws {
    let folder = try TemporaryFolder()
    try folder.makeLink("refuse", to: "/bin/false")
    let netmap = try folder.installNetmap(as: "netmap")
    #expect(try netmap.run("refuse").status == 1)
  }

  @Test("says where it looked for an unknown tool")
  func unknown() throws {
    let folder = try TemporaryFolder()
    try folder.makeFolder("build")
    let netmap = try folder.installNetmap(as: "build/netmap")

    let outcome = try netmap.run("no-such-tool", "--flag")
    #expect(outcome.status == 64)
    #expect(outcome.output == "")
    #expect(outcome.errors.contains("'no-such-tool'"))
    #expect(outcome.errors.contains("/libexec/netmap/no-such-tool"))
    #expect(outcome.errors.contains("/build/no-such-tool"))
  }

  @Test(
    "refuses invalid names of tools",
    arguments: ["a/b", "../netmap", "/bin/echo", "", "a.b", "ä", "a b"])
  func badName(name: String) throws {
    let outcome = try Command.netmap.run(name)
    #expect(outcome.status == 64)
    #expect(outcome.errors.contains("'\(name)' is not the name of a tool"))
  }

  @Test("says why a tool cannot be run")
  func cannotRun() throws {
    let folder = try TemporaryFolder()
    try folder.makeFolder("say")
    let netmap = try folder.installNetmap(as: "netmap")

    let outcome = try netmap.run("say")
    #expect(outcome.status == 126)
    #expect(outcome.errors.contains("/say: Permission denied"))
  }
}
