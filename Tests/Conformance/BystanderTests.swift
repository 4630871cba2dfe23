import Glibc
import NetmapTestSupport
import Testing

/// Programs that know nothing of netmap, with the C library preloaded.
@Suite("Programs that never use netmap")
struct BystanderTests {
  static let commands: [[String]] = [
    ["true"], ["false"],
    [
      "bash", "-c",
      "exec 5>&1; echo one | cat >&5; read -t 0.1 x < <(sleep 1); echo $?; (exit 3); echo $?; ls /proc/self/fd | wc -l",
    ],
    [
      "python3", "-c",
      """
      import os, select, socket, subprocess
      a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
      print(select.select([a], [b], [], 0.1)[1] == [b])
      socket.send_fds(a, [b"x"], [0])
      data, files, flags, address = socket.recv_fds(b, 10, 4)
      print(data, files)
      p = select.poll(); p.register(a); print(p.poll(0) == [(a.fileno(), 4)])
      print(subprocess.run(["echo", "child"], capture_output=True).stdout)
      os.closerange(3, 1000); print(os.dup(0))
      try: os.open("/dev/netmap-not", os.O_RDWR)
      except OSError as e: print(e.errno)
      """,
    ],
  ]

  @Test("A program that never uses netmap behaves as without the library", arguments: commands)
  func sameBehaviour(command: [String]) throws {
    guard (try? TestProgram(["which", command[0]]).finish())?.status == 0 else { return }
    let fixture = try DaemonFixture(starts: false)
    let alone = try TestProgram(command).end()
    let preloaded = try TestProgram(
      command, environment: CClients.environment(.preloaded, fixture)
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
