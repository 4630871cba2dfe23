internal import ArgumentParser
internal import Glibc
internal import Netmap
internal import NetmapCore
internal import ToolSupport

/// `netmap capture`: writes the packets of a port that a program has open to a file.
struct Capture: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "capture",
    abstract: "Write the packets of an open port to a file.",
    discussion: """
      PORT is a port that a program has open. The capture is a monitor of it (netmap:PORT/t and netmap:PORT/r). It \
      costs the program the copy of each packet, and never delays it: packets that find no room here are dropped, \
      and counted in the file and at the end. Packets that a switch port or an interface receives are captured when its \
      program receives them.

      The file has the format pcapng: tshark, Wireshark and tcpdump read it. It says for each packet whether the port \
      sent it or received it. Time stamps have nanoseconds, and say when the capture read the packet.

      The capture ends with control-C, with the given number of packets, and when the port is closed.

      EXAMPLES
        netmap capture netmap:eth0 -w packets.pcapng
        netmap capture vale0:a --direction sent --count 100 -w - | tshark -r -
      """)

  enum Direction: String, ExpressibleByArgument, CaseIterable {
    case sent, received, both

    var flags: BindingFlags {
      switch self {
      case .sent: .monitorTransmit
      case .received: .monitorReceive
      case .both: [.monitorTransmit, .monitorReceive]
      }
    }
  }

  @Argument(help: ArgumentHelp("A port that a program has open.", valueName: "port"))
  var port: String

  @Option(
    name: [.customShort("w"), .customLong("write")],
    help: ArgumentHelp("The file; - for standard output.", valueName: "file"))
  var file: String

  @Option(name: .shortAndLong, help: "Which packets to capture.")
  var direction = Direction.both

  @Option(
    name: .shortAndLong, help: ArgumentHelp("End after this many packets.", valueName: "packets"))
  var count: UInt64 = .max

  @Option(help: ArgumentHelp("Slots for packets that wait to be read.", valueName: "slots"))
  var slots: UInt32 = 4096

  func validate() throws {
    guard count > 0 else { throw ValidationError("--count must be 1 or more") }
    guard (2...4096).contains(slots) else {
      throw ValidationError("--slots \(slots) is outside 2...4096")
    }
  }

  func run() throws {
    do throws(NetmapError) {
      let (packets, drops) = try capture()
      printError("\(packets) packets captured, dropped: \(drops)")
    } catch {
      printError("netmap capture: \(error)")
      throw ExitCode.failure
    }
  }

  /// How often to look whether the user wants the capture to end, if no packets come.
  private static let pause = Duration.milliseconds(100)

  private func capture() throws(NetmapError) -> (packets: UInt64, drops: DropCounters) {
    let request = StopRequest()
    var specification = try PortSpecification.parse(port)
    specification.conf.receiveSlots = slots
    let monitor = try NetmapPort(
      specification, flags: direction.flags, engine: HostEngine.shared)
    var output = try PacketFile(file, of: specification.description)
    StopSignals.install(waking: request)
    var packets: UInt64 = 0
    while packets < count, StopSignals.take() == nil {
      let ready = try wait(for: monitor)
      packets += try take(from: monitor, to: &output, upTo: count - packets)
      try output.flush()
      // The port has been closed. What came before has been taken.
      if ready.contains(.error) { break }
    }
    let counters = monitor.statistics.receive
    try output.finish(counters)
    return (packets, counters.drops)
  }

  /// Waits for packets, but not for long. A signal ends the wait.
  private func wait(for monitor: NetmapPort) throws(NetmapError) -> Readiness {
    do throws(NetmapError) {
      return try monitor.wait(for: .receive, timeout: Self.pause)
    } catch {
      guard error.code.rawValue == EINTR else { throw error }
      return []
    }
  }

  private func take(
    from monitor: NetmapPort, to output: inout PacketFile, upTo most: UInt64
  ) throws(NetmapError) -> UInt64 {
    let time = PacketFile.now()
    var packets: UInt64 = 0
    for index in 0..<monitor.receiveRingCount {
      var ring = monitor.receiveRing(index)
      while packets < most, let packet = ring.next() {
        let isSent = packet.slot.flags.contains(.monitoredTransmit)
        try output.append([UInt8](packet), at: time, isSent ? .outbound : .inbound)
        packets += 1
      }
    }
    return packets
  }
}
