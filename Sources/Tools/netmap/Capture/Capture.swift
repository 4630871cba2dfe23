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

      The capture ends with control-C, with the given number of packets, and when the port is closed. On a terminal, \
      a line says every second how many packets there are. At the end, --json prints one object on one line: port, file, \
      end (count, signal or closed), packets, bytes, dropped, and reasons, the drops by reason. It goes to standard \
      output, or, with -w -, to standard error.

      EXAMPLES
        netmap capture netmap:eth0 -w packets.pcapng
        netmap capture netmap:eth0 --count 1000 --json -w packets.pcapng
        netmap capture vale0:a --direction sent -w - | tshark -r -
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

  @Flag(help: "Print the numbers at the end as JSON.")
  var json = false

  func validate() throws {
    guard count > 0 else { throw ValidationError("--count must be 1 or more") }
    guard (2...4096).contains(slots) else {
      throw ValidationError("--slots \(slots) is outside 2...4096")
    }
  }

  func run() throws {
    do throws(NetmapError) {
      report(try capture())
    } catch {
      printError("netmap capture: \(error)")
      throw ExitCode.failure
    }
  }

  /// How often to look whether the user wants the capture to end, if no packets come.
  private static let pause = Duration.milliseconds(100)

  /// What was captured, and why the capture ended.
  private struct Outcome {
    enum End: String {
      case count, signal, closed
    }

    var port = ""
    var end = End.count
    var packets: UInt64 = 0
    var bytes: UInt64 = 0
    var drops = DropCounters()
  }

  private func report(_ outcome: Outcome) {
    guard json else {
      let reason = outcome.end == .closed ? "the port was closed: " : ""
      return printError("\(reason)\(outcome.packets) packets captured, dropped: \(outcome.drops)")
    }
    var line = JSONLine()
    line.add("port", outcome.port)
    line.add("file", file)
    line.add("end", outcome.end.rawValue)
    line.add("packets", outcome.packets)
    line.add("bytes", outcome.bytes)
    line.add("dropped", outcome.drops.total)
    line.add("reasons", JSONLine(outcome.drops))
    if file == "-" { printError(line.text) } else { print(line.text) }
  }

  private func capture() throws(NetmapError) -> Outcome {
    let request = StopRequest()
    var specification = try PortSpecification.parse(port)
    specification.conf.receiveSlots = slots
    let monitor = try NetmapPort(
      specification, flags: direction.flags, engine: HostEngine.shared)
    var outcome = Outcome(port: specification.name.rawValue)
    var output = try PcapngFile(file, of: outcome.port)
    StopSignals.install(waking: request)
    let showsProgress = isatty(STDERR_FILENO) != 0
    var shownAt = ContinuousClock.now
    while outcome.packets < count {
      if StopSignals.take() != nil {
        outcome.end = .signal
        break
      }
      let ready = try wait(for: monitor)
      try take(from: monitor, to: &output, &outcome)
      try output.flush()
      if ready.contains(.error) {
        // What came before the close has been taken.
        outcome.end = .closed
        break
      }
      if showsProgress, shownAt.duration(to: .now) >= .seconds(1) {
        let dropped = monitor.statistics.receive.drops.total
        writeError("\r\u{1b}[K\(outcome.packets) packets, \(dropped) dropped")
        shownAt = .now
      }
    }
    if showsProgress { writeError("\r\u{1b}[K") }
    let counters = monitor.statistics.receive
    outcome.drops = counters.drops
    try output.finish(counters)
    return outcome
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

  /// Writes the packets that have come, up to the wanted number.
  private func take(
    from monitor: NetmapPort, to output: inout PcapngFile, _ outcome: inout Outcome
  ) throws(NetmapError) {
    let time = PcapngFile.now()
    for index in 0..<monitor.receiveRingCount {
      var ring = monitor.receiveRing(index)
      while outcome.packets < count, let packet = ring.next() {
        let isSent = packet.slot.flags.contains(.monitoredTransmit)
        let bytes = [UInt8](packet)
        try output.append(bytes, at: time, isSent ? .outbound : .inbound)
        outcome.packets += 1
        outcome.bytes += UInt64(bytes.count)
      }
    }
  }
}
