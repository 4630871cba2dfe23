import Glibc
import Netmap
import NetmapTestSupport
import Testing

/// The host of the calling thread's network namespace, with interface `near`, and another one behind the wire, with
/// interface `far`.
///
/// `near` has the addresses 10.0.0.1 and fd00::1, `far` 10.0.0.2 and fd00::2. The offloads of `near` are on, as they are
/// on a NIC; those of `far` are off, because a wire carries finished packets only.
final class HostFixture {
  static let choices = ["xdp,mode=copy", "packet"]

  /// A process that keeps the other network namespace.
  private let place: TestProgram

  init(queues: Int = 1, mtu: Int = 1500) throws {
    _ = try VethPair("near", "far", queues: queues, mtu: mtu)
    place = try TestProgram(["unshare", "-n", "sh", "-c", "echo ready; exec sleep 1000"])
    guard place.readLine() == "ready\n" else { throw TestFailure("unshare: no namespace") }
    try NetworkNamespace.run("ip", "link", "set", "far", "netns", "\(place.process)")
    for (end, number) in [("near", 1), ("far", 2)] {
      func ip(_ arguments: String...) throws {
        let command = ["ip"] + arguments
        _ = try end == "near" ? TestProgram.output(of: command) : there(command)
      }
      // VethPair's ends have no ARP and no IPv6.
      try ip("link", "set", end, "arp", "on")
      try ip("link", "set", end, "address", "02:00:00:00:00:0\(number)")
      try ip("link", "set", end, "up")
      try ip("address", "add", "10.0.0.\(number)/24", "dev", end)
      try ip("address", "add", "fd00::\(number)/64", "dev", end, "nodad")
    }
    try NetworkNamespace.run("ethtool", "-K", "near", "tx", "on", "tso", "on", "gso", "on")
    let clock = ContinuousClock()
    let end = clock.now + .seconds(10)
    while try !NetworkNamespace.run("ip", "link", "show", "near").contains("LOWER_UP") {
      guard clock.now < end else { throw TestFailure("the link does not come up") }
      usleep(1000)
    }
  }

  deinit { place.kill(SIGKILL) }

  /// The command line that runs a command behind the wire.
  func thereCommand(_ command: [String]) -> [String] {
    ["nsenter", "-t", "\(place.process)", "-n"] + command
  }

  /// Runs a command behind the wire, and waits for its end.
  @discardableResult
  func there(_ command: [String]) throws -> String {
    try TestProgram.output(of: thereCommand(command))
  }

  /// Starts a program that prints `ready`, here or behind the wire.
  func start(_ arguments: [String], there isThere: Bool = false) throws -> TestProgram {
    let command = [driver] + arguments
    let program = try TestProgram(isThere ? thereCommand(command) : command)
    let said = program.read()
    guard said.hasPrefix("ready") else { throw TestFailure("\(arguments): \(said)") }
    return program
  }
}

/// A UDP packet over IPv4 from 10.0.0.2 to 10.0.0.1, as a wire carries it.
func datagramToHost(port: UInt16, length: Int = 60) -> [UInt8] {
  var frame: [UInt8] = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0]
  let payload = length - 14
  frame += [0x45, 0, UInt8(payload >> 8), UInt8(payload & 0xff), 0, 0, 0, 0, 64, 17, 0, 0]
  frame += [10, 0, 0, 2, 10, 0, 0, 1]
  var sum = stride(from: 14, to: 34, by: 2).reduce(0) {
    $0 + Int(frame[$1]) << 8 + Int(frame[$1 + 1])
  }
  sum = (sum & 0xffff) + sum >> 16
  frame[24] = ~UInt8(sum >> 8)
  frame[25] = ~UInt8(sum & 0xff)
  let body = payload - 20
  frame += [
    0x30, 0, UInt8(port >> 8), UInt8(port & 0xff), UInt8(body >> 8), UInt8(body & 0xff), 0, 0,
  ]
  return frame + [UInt8](repeating: 7, count: length - frame.count)
}
