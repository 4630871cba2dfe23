internal import ArgumentParser
internal import Glibc
internal import Netmap
internal import NetmapClient
internal import NetmapCore
internal import ToolSupport

/// `netmap ports`: lists the ports that processes have open through netmapd.
struct Ports: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "ports",
    abstract: "List the ports that processes have open through netmapd.",
    discussion: """
      Packets and drops are counted from the creation of the port. Ports on an engine of one process \
      (--embedded) are not listed. For a network interface, backend names the driver of its rings and \
      the mode. Interfaces of one name in several network namespaces are several ports.

      With --watch, sent/s and received/s are packets per second since the last listing; "-" for a port that \
      was not in it.

      --check checks the memory that ports share instead: every packet buffer must be in one place, \
      locks must be free or held by live processes, and indexes must be in order. It prints one line per \
      finding, and exits with status 1 if there is any. It cannot check rings whose packets are moving, \
      and counts these rings. A finding can also mean that a faulty program wrote to the wrong place.

      --write-dump writes what describes the ports, without packets, to a file that only its owner can read. --dump reads \
      such a file, which needs no netmapd: for each port its processes, rings, leases, locks, sleepers and counters, and \
      then what the check finds. It exits with status 1 if there are findings. A dump of a port whose packets are moving \
      may contradict itself; stop the processes first (kill -STOP) where that matters.

      Remarks on interfaces, as they were when their ports were opened, follow the table.

      --json prints one object per port and line: port, memory, processes, backend, remarks, and for transmit \
      and receive the number of rings and slots, packets, bytes, short_cut_packets (packets of a veth that bypassed the \
      kernel, because netmapd has both ends open), drops, resets, and drops by reason; for \
      transmit also broadcasts, and the copies made of them; for receive also repairs: packets whose checksum \
      was completed, packets that were cut into segments, and packets whose VLAN tag was put back; resets counts how often a program put head or cur where \
      they may not be, so that the ring was reset. The list has a line for such a port. Over all ports of one switch, packets sent \
      minus broadcasts plus copies equals packets received plus drops of both directions. With \
      --watch there are also packets_per_second, null where the table has "-".

      EXAMPLES
        netmap ports
        netmap ports --watch 1      again every second
        netmap ports --json
        netmap ports --check
        netmap ports --write-dump ports.dump && netmap ports --dump ports.dump
      """)

  @Flag(help: "Print one JSON object for each port.")
  var json = false

  @Option(help: ArgumentHelp("Print again every this many seconds.", valueName: "seconds"))
  var watch: Double?

  @Flag(help: "Check the memory that ports share; exit status 1 if there are findings.")
  var check = false

  @Option(help: ArgumentHelp("Write a dump of the memory that ports share.", valueName: "file"))
  var writeDump: String?

  @Option(
    help: ArgumentHelp(
      "Show and check a dump; exit status 1 if there are findings.", valueName: "file"))
  var dump: String?

  func validate() throws {
    if check && (json || watch != nil) {
      throw ValidationError("--check excludes --json and --watch")
    }
    if writeDump != nil && (check || json || watch != nil || dump != nil) {
      throw ValidationError("--write-dump excludes other options")
    }
    if dump != nil && (check || watch != nil) {
      throw ValidationError("--dump excludes --check and --watch")
    }
    if let watch, !(0.01...86_400).contains(watch) {
      throw ValidationError("--watch must be a number of seconds, 0.01 to 86400")
    }
  }

  func run() throws {
    if check { return try runCheck() }
    if let writeDump { return try write(writeDump) }
    if let dump { return try show(dump) }
    var rates = PortRates()
    while true {
      do throws(NetmapError) {
        let ports = try HostEngine.shared.listing()
        let now = rates.record(ports)
        if json { zip(ports, now).forEach { print(line($0, $1)) } } else { show(ports, now) }
      } catch {
        // No daemon is running, so no port is open.
        guard error.code.rawValue == ENOENT else {
          printError("netmap ports: \(error)")
          throw ExitCode.failure
        }
        _ = rates.record([])
        if !json { print("no port is open") }
      }
      guard let watch else { return }
      fflush(nil)
      // sleep(3) for whole seconds: the argument of usleep(3) has 32 bits, enough for about 71 minutes.
      sleep(UInt32(watch))
      usleep(UInt32((watch - watch.rounded(.down)) * 1e6))
    }
  }

  private func write(_ path: String) throws {
    do throws(NetmapError) {
      let (dump, byteCount) = try DumpFile.write(path)
      print("wrote \(byteCount) bytes about \(dump.ports.count) ports to \(path)")
    } catch {
      printError("netmap ports: \(error)")
      throw ExitCode.failure
    }
  }

  private func show(_ path: String) throws {
    let engine: DumpedEngine
    do throws(NetmapError) {
      engine = try DumpFile.read(path)
    } catch {
      printError("netmap ports: \(error)")
      throw ExitCode(2)
    }
    let report = engine.check()
    let lines = json ? DumpJSON(engine).lines(report) : DumpText(engine).lines(report)
    for line in lines { print(line) }
    if report?.findings.isEmpty == false { throw ExitCode.failure }
  }

  private func runCheck() throws {
    let check: DaemonCheck
    do throws(NetmapError) {
      check = try HostEngine.shared.check()
    } catch {
      // No daemon is running, so no port is open.
      guard error.code.rawValue == ENOENT else {
        printError("netmap ports: \(error)")
        throw ExitCode.failure
      }
      return print("no port is open")
    }
    let report = check.report
    report.findings.forEach { print($0) }
    let moving =
      report.moving.isEmpty
      ? "" : "; \(report.moving.count) rings were moving packets and could not be checked"
    print(
      "\(report.ports) ports, \(report.regions) memory regions, \(report.buffers) buffers in use, "
        // This tool is one of the clients.
        + "\(check.clients - 1) processes: "
        + (report.findings.isEmpty ? "no findings" : "\(report.findings.count) findings")
        + moving)
    if !report.findings.isEmpty { throw ExitCode.failure }
  }

  private func show(_ ports: [PortListing], _ rates: [PortRates.Rate]) {
    guard !ports.isEmpty else { return print("no port is open") }
    var table = [
      [
        "port", "backend", "memory", "rings", "slots", "sent", "sent/s", "dropped", "received",
        "received/s", "dropped", "processes",
      ]
    ]
    for (port, rate) in zip(ports, rates) {
      let geometry = port.geometry
      table.append([
        port.name, port.backend.isEmpty ? "-" : port.backend, "\(port.memoryID)",
        "\(geometry.transmitRings)/\(geometry.receiveRings)",
        "\(geometry.transmitSlots)/\(geometry.receiveSlots)", "\(port.transmit.packets)",
        rate.transmit?.fixed(0) ?? "-", Self.describe(port.transmit), "\(port.receive.packets)",
        rate.receive?.fixed(0) ?? "-", Self.describe(port.receive),
        port.processes.map(Self.describe).joined(separator: ", "),
      ])
    }
    // A single list has no rates.
    let columns = table[0].indices.filter { watch != nil || !table[0][$0].hasSuffix("/s") }
    table = table.map { row in columns.map { row[$0] } }
    let widths = table[0].indices.map { column in table.map { $0[column].count }.max() ?? 0 }
    for row in table {
      let cells = zip(row, widths).map { $0.left($1) }
      print(cells.joined(separator: "  ").trimmingTrailingSpaces())
    }
    for port in ports {
      for remark in port.remarks { print("\(port.name), when it was opened: \(remark)") }
      if port.receive.repairs.total > 0 {
        print("\(port.name): completed in received packets: \(port.receive.repairs)")
      }
      let passed = (port.transmit.shortCutPackets, port.receive.shortCutPackets)
      if passed.0 > 0 || passed.1 > 0 {
        print(
          "\(port.name): past the kernel, by the veth short cut:"
            + " \(passed.0) sent, \(passed.1) received")
      }
      let resets = port.transmit.resets &+ port.receive.resets
      if resets > 0 {
        print("\(port.name): a program put head or cur where they may not be, \(resets) times")
      }
    }
  }

  /// For example `17 (ring_full 12, busy 5)`.
  private static func describe(_ traffic: PortListing.Traffic) -> String {
    traffic.drops == 0 ? "0" : "\(traffic.drops) (\(traffic.reasons))"
  }

  /// For example `pkt-gen (4711)`.
  private static func describe(_ process: Int32) -> String {
    let file = unsafe open("/proc/\(process)/comm", O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { return "\(process)" }
    defer { close(file) }
    var bytes = [UInt8](repeating: 0, count: 64)
    let count = unsafe read(file, &bytes, bytes.count)
    let name = String(
      decoding: bytes[..<max(0, count)].prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self)
    return name.isEmpty ? "\(process)" : "\(name) (\(process))"
  }

  private func line(_ port: PortListing, _ rates: PortRates.Rate) -> String {
    var line = JSONLine()
    line.add("port", port.name)
    line.add("memory", Int(port.memoryID))
    line.add("processes", port.processes.map(String.init).joined(separator: " "))
    line.add("backend", port.backend)
    line.add("remarks", port.remarks)
    let geometry = port.geometry
    for (name, rings, slots, traffic, rate) in [
      ("transmit", geometry.transmitRings, geometry.transmitSlots, port.transmit, rates.transmit),
      ("receive", geometry.receiveRings, geometry.receiveSlots, port.receive, rates.receive),
    ] {
      var part = JSONLine()
      part.add("rings", rings)
      part.add("slots", slots)
      part.add("packets", traffic.packets)
      if watch != nil { part.add("packets_per_second", rate ?? .nan) }
      part.add("bytes", traffic.bytes)
      part.add("short_cut_packets", traffic.shortCutPackets)
      part.add("drops", traffic.drops)
      if name == "transmit" {
        part.add("broadcasts", traffic.broadcasts)
        part.add("copies", traffic.copies)
      }
      if name == "receive" { part.add("repairs", JSONLine(traffic.repairs)) }
      part.add("resets", traffic.resets)
      part.add("reasons", JSONLine(traffic.reasons))
      line.add(name, part)
    }
    return line.text
  }
}

extension String {
  fileprivate func trimmingTrailingSpaces() -> String {
    String(prefix(count - reversed().prefix { $0 == " " }.count))
  }
}
