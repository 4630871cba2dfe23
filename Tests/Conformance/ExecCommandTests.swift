import Glibc
import NetmapTestSupport
import Testing

/// `netmap exec`
@Suite("netmap exec")
struct ExecCommandTests {
  private func run(
    _ arguments: [String], _ fixture: DaemonFixture? = nil
  ) throws -> TestProgram.Outcome {
    var environment = ["NETMAP_SOCKET": fixture?.socket ?? "/nonexistent/netmapd.sock"]
    environment["LC_ALL"] = "C"
    return try TestProgram(
      [TestProgram.built("netmap"), "exec"] + arguments, environment: environment,
      separatesErrors: true
    ).end()
  }

  @Test("netmap exec runs a C program, which starts netmapd", arguments: [false, true])
  func runs(withDashes: Bool) throws {
    let fixture = try DaemonFixture(starts: false)
    let client = "\(try CClients.folder.get())/syncs"
    let outcome = try run((withDashes ? ["--"] : []) + [client, "pipe"], fixture)
    #expect(outcome.status == 0, "\(outcome.output)\(outcome.errors)")
    #expect(fixture.files.contains("netmapd.sock"))
    fixture.waitUntilGone(within: .seconds(60))
  }

  @Test("netmap exec hands over arguments, and the program's exit status is its own")
  func arguments() throws {
    let outcome = try run(["sh", "-c", "echo \"$0 $@\"; exit 7", "--help", "-x"])
    #expect(outcome.status == 7)
    #expect(outcome.output == "--help -x\n")
  }

  @Test("netmap exec --indirect, and nothing else, allows packets from any memory")
  func indirect() throws {
    let print = ["sh", "-c", "echo \"$NETMAP_INDIRECT $0\"", "--indirect"]
    #expect(try run(["--indirect"] + print).output == "1 --indirect\n")
    #expect(try run(["--indirect", "--"] + print).output == "1 --indirect\n")
    #expect(try run(print).output == " --indirect\n")
  }

  @Test("netmap exec puts the library before others that are preloaded")
  func keepsPreload() throws {
    let outcome = try TestProgram(
      [TestProgram.built("netmap"), "exec", "sh", "-c", "echo $LD_PRELOAD"],
      environment: ["LD_PRELOAD": "libm.so.6"]
    ).end()
    #expect(outcome.output == "\(TestProgram.built("libnetmap-c.so")):libm.so.6\n")
  }

  @Test("netmap exec --explain says why a request of the program is refused, and what to do")
  func explains() throws {
    let fixture = try DaemonFixture(starts: false)
    let client = "\(try CClients.folder.get())/sizes"
    let silent = try run([client, "refused"], fixture)
    #expect(silent.status == 0, "\(silent.output)\(silent.errors)")
    #expect(silent.errors.isEmpty)
    let outcome = try run(["--explain", "--", client, "refused"], fixture)
    #expect(outcome.status == 0, "\(outcome.output)\(outcome.errors)")
    #expect(outcome.errors.contains("netmap: "))
    #expect(outcome.errors.contains("(EINVAL)"))
    fixture.waitUntilGone(within: .seconds(60))
  }

  @Test("netmap exec --explain writes nothing to a descriptor 2 that is one of netmap's")
  func explainsToNoToken() throws {
    let fixture = try DaemonFixture(starts: false)
    let outcome = try run(
      ["--explain", "\(try CClients.folder.get())/sizes", "no-errors"], fixture)
    #expect(outcome.status == 0, "\(outcome.output)")
    fixture.waitUntilGone(within: .seconds(60))
  }

  @Test("netmap exec --buffers, --rings and --interfaces give the sizes of the netmapd that starts")
  func sizes() throws {
    let fixture = try DaemonFixture(starts: false)
    let client = "\(try CClients.folder.get())/sizes"
    let outcome = try run(
      [
        "--buffers", "30000", "--rings", "300", "--interfaces=120", client, "pools", "30000", "300",
        "120",
      ],
      fixture)
    #expect(outcome.status == 0, "\(outcome.output)\(outcome.errors)")
    #expect(outcome.errors.isEmpty)
    // That one still runs.
    let late = try run(["--buffers", "40000", client, "pools", "30000", "300", "120"], fixture)
    #expect(late.status == 0, "\(late.output)\(late.errors)")
    #expect(late.errors.contains("a netmapd runs that has"))
    fixture.waitUntilGone(within: .seconds(60))
  }

  @Test(
    "netmap exec refuses sizes out of range, and leaves options after the program to the program")
  func optionPlaces() throws {
    #expect(try run(["--buffers", "3", "true"]).status == 64)
    #expect(try run(["--buffers", "many", "true"]).status == 64)
    let outcome = try run(["--explain", "echo", "--buffers", "3", "--explain", "--", "-h"])
    #expect(outcome.status == 0)
    #expect(outcome.output == "--buffers 3 --explain -- -h\n")
  }

  /// A changed copy of a client.
  private func copy(_ name: String, _ change: (inout [UInt8]) -> Void) throws -> String {
    let folder = try CClients.folder.get()
    let source = unsafe fopen("\(folder)/syncs", "r")
    let path = "\(folder)/\(name)"
    let target = unsafe fopen(path, "w")
    guard let source = unsafe source, let target = unsafe target else {
      throw ClientError(text: "\(path): errno \(errno)")
    }
    var bytes = [UInt8](repeating: 0, count: 1 << 20)
    let count = unsafe fread(&bytes, 1, bytes.count, source)
    bytes.removeLast(bytes.count - count)
    change(&bytes)
    unsafe fwrite(&bytes, 1, bytes.count, target)
    unsafe fclose(source)
    unsafe fclose(target)
    unsafe chmod(path, 0o755)
    return path
  }

  @Test("netmap exec says when a program is linked statically")
  func linkedStatically() throws {
    let outcome = try run(["\(try CClients.folder.get())/static", "pipe"])
    #expect(outcome.status == 126)
    #expect(outcome.errors.contains("linked statically"))
  }

  @Test("netmap exec says when a program uses musl, also for a script of that interpreter")
  func musl() throws {
    let path = try copy("musl") { bytes in
      let name = Array("/ld-".utf8)
      guard let start = bytes.firstRange(of: name)?.lowerBound else { return }
      bytes.replaceSubrange(start..<start + 8, with: Array("/ld-musl".utf8))
    }
    #expect(try run([path]).errors.contains("musl"))
    let script = "\(try CClients.folder.get())/script"
    let file = unsafe fopen(script, "w")
    unsafe fputs("#!\(path) -x\necho no\n", file)
    unsafe fclose(file)
    unsafe chmod(script, 0o755)
    let outcome = try run([script])
    #expect(outcome.status == 126)
    #expect(outcome.errors.contains("musl"))
  }

  @Test("netmap exec says when a program is for another machine")
  func otherMachine() throws {
    let path = try copy("machine") { $0[18] = 2 }
    let outcome = try run([path])
    #expect(outcome.status == 126)
    #expect(outcome.errors.contains("another machine"))
  }

  @Test(
    "netmap exec says when a program gets the rights of another user", .enabled(if: getuid() == 0))
  func moreRights() throws {
    let path = try copy("rights") { _ in }
    unsafe chown(path, 65534, 65534)
    unsafe chmod(path, 0o4755)
    let outcome = try run([path])
    #expect(outcome.status == 126)
    #expect(outcome.errors.contains("more rights"))
  }

  @Test("netmap exec needs a program that exists")
  func noProgram() throws {
    #expect(try run([]).status == 64)
    #expect(try run(["/nonexistent/program"]).status == 127)
    #expect(try run(["--help"]).output.contains("PROGRAM"))
  }
}
