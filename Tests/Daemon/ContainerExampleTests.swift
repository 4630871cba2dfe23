import Glibc
import NetmapTestSupport
import Testing

/// `docs/containers.md` and the script that it names.
@Suite struct ContainerExampleTests {
  @Test(
    "two containers without privileges: a switch, a veth past the kernel, and the host",
    .timeLimit(.minutes(15)))
  func example() throws {
    guard getuid() == 0 else { return try Requirement.skip("the example needs root") }
    let programs = String(TestProgram.built("netmapd").dropLast("/netmapd".count))
    let result = try TestProgram(
      ["Examples/containers/containers.sh", programs],
      environment: [
        "PACKETS": "20000",
        "PING": "\(TestProgram.built("port-driver")) ping 10.9.0.2 3 56",
      ]
    ).finish()
    #expect(result.status == 0, "\(result.output)")
    #expect(result.output.hasSuffix("== done\n"), "\(result.output)")
  }
}
