internal import NetmapCore
internal import ToolSupport

/// A dump as text: one paragraph for each port and each switch, and what the check finds.
struct DumpText {
  private let engine: DumpedEngine
  private let processes: [Int32: String]

  init(_ engine: DumpedEngine) {
    self.engine = engine
    var names: [Int32: String] = [:]
    for process in engine.dump.processes {
      let name = printable(process.name)
      let state: String? =
        switch process.state {
        case UInt8(ascii: "T"): "stopped"
        case UInt8(ascii: "t"): "traced"
        case UInt8(ascii: "Z"), UInt8(ascii: "X"): "dead"
        case UInt8(ascii: "D"): "in the kernel"
        default: nil
        }
      names[process.number] = "\(name) (\(process.number)\(state.map { ", \($0)" } ?? ""))"
    }
    processes = names
  }

  /// Describes the whole dump.
  ///
  /// - Parameter report: The result of the dump's check; nil when it was not made.
  /// - Returns: The lines, without line ends.
  func lines(_ report: CheckReport?) -> [String] {
    let dump = engine.dump
    var lines = [
      "dump of \(dump.seconds) s after 1970: \(dump.ports.count) ports, \(dump.regions.count) memory"
        + " regions, \(dump.clients.count) clients"
    ]
    for port in engine.dumpedPorts { lines += [""] + describe(port) }
    for vale in engine.dumpedSwitches { lines += [""] + describe(vale) }
    lines += [""] + Self.describe(report)
    return lines
  }

  static func describe(_ report: CheckReport?) -> [String] {
    guard let report else { return ["the dump is too large to be checked"] }
    let moving =
      report.moving.isEmpty ? "" : "; \(report.moving.count) rings were moving and not checked"
    let count = report.findings.isEmpty ? "no findings" : "\(report.findings.count) findings"
    return report.findings.map { printable(Array($0.utf8)) } + [
      "\(report.ports) ports, \(report.regions) memory regions, \(report.buffers) buffers in use:"
        + " \(count)\(moving)"
    ]
  }

  // MARK: - Ports

  private func describe(_ port: DumpedPort) -> [String] {
    let geometry = port.geometry
    var facts = [
      port.kind, "memory \(port.memoryID)",
      "\(geometry.rings(.transmit))/\(geometry.rings(.receive)) rings of"
        + " \(geometry.transmitSlots)/\(geometry.receiveSlots) slots",
    ]
    facts += port.places
    if port.isPersistent { facts.append("persistent") }
    if port.bindings.isEmpty { facts.append("not open") }
    var lines = ["\(port.name): \(facts.joined(separator: ", "))"]
    for binding in port.bindings { lines.append("  " + describe(binding)) }
    if !port.waiters.isEmpty {
      lines.append("  list of waiters: \(list(port.waiters.map(describe)))")
    }
    for ring in port.rings { lines += describe(ring).map { "  " + $0 } }
    return lines
  }

  private func describe(_ binding: DumpedBinding) -> String {
    var facts = ["futex rung \(binding.bellCount) times"]
    if binding.isExclusive { facts.append("exclusive") }
    if let loop = binding.loop { facts.append("sync loop run by \(describe(loop))") }
    if let owner = binding.owner {
      if owner.isHidden { facts.append("the engine's own") }
      if owner.isIsolated { facts.append("isolated") }
      if !owner.isOpen { facts.append("closed") }
      facts.append("user \(owner.user), opened by \(name(owner.opener))")
      let viewers = owner.viewers.map(name)
      facts.append(viewers.isEmpty ? "mapped by no process" : "mapped by \(list(viewers))")
    }
    return "binding \(binding.index): \(facts.joined(separator: ", "))"
  }

  private func describe(_ ring: DumpedRing) -> [String] {
    let kring = ring.cursors
    var lines = [
      "\(ring.direction) ring \(ring.index): head \(ring.head), cur \(ring.cur), tail \(ring.tail);"
        + " hwcur \(kring.hwcur), rhead \(kring.rhead), rcur \(kring.rcur), rtail \(kring.rtail),"
        + " hwtail \(kring.hwtail); position \(kring.position), published \(ring.published)"
    ]
    func add(_ text: String) { lines.append("  " + text) }
    if ring.isMoving { add("a process synced it during the dump: the numbers may not agree") }
    if ring.isStopped { add("stopped: its interface is gone") }
    if let lock = ring.lock { add("locked by \(describe(lock))") }
    for sleeper in ring.sleepers { add("waiting for its progress: \(describe(sleeper))") }
    if let announced = ring.announced {
      add(
        "announced: lease \(announced.sequence), \(announced.slots) slots from"
          + " \(announced.start) of \(announced.target)")
    }
    if let broadcast = ring.broadcast {
      add(
        "the broadcast in slot \(broadcast.slot) has reached ports"
          + " \(list(broadcast.receivers.map(String.init)))")
    }
    if let exchange = ring.exchange {
      add(
        "an exchange of buffers by binding \(exchange.binding) is not finished: slot"
          + " \(exchange.first), with slot \(exchange.second) of another ring")
    }
    for line in leases(of: ring) { add(line) }
    add(counters(of: ring.counters))
    return lines
  }

  private func leases(of ring: DumpedRing) -> [String] {
    guard let isOpen = ring.isOpenToSenders else { return [] }
    var lines: [String] = []
    if let (next, arriving) = ring.reservation.flatMap({ next in ring.arriving.map { (next, $0) } })
    {
      lines.append(
        "leases: the next is \(next.sequence) from slot \(next.next); the ring takes over"
          + " \(arriving.sequence) from slot \(arriving.next)")
    }
    if !isOpen { lines.append("closed to senders") }
    if ring.holdsSenders {
      let held = ring.heldSenders.isEmpty ? "none" : list(ring.heldSenders.map(String.init))
      lines.append("backpressure; senders of ports that wait for room: \(held)")
    }
    for lease in ring.leases {
      if let slots = lease.finishedSlots {
        lines.append(
          "lease \(lease.sequence) from slot \(lease.start): finished, \(slots) slots,"
            + " \(lease.packets) packets")
        continue
      }
      let senders = lease.senders.map { sender in
        "\(sender.ring), \(sender.slots) slots, locked by "
          + (sender.holder.map(describe) ?? "no process")
      }
      lines.append(
        "lease \(lease.sequence) from slot \(lease.start): not finished, announced by "
          + (senders.isEmpty ? "no sender" : list(senders)))
    }
    return lines
  }

  private func counters(of counters: RingCounters) -> String {
    var facts = [
      "\(counters.packets) packets", "\(counters.bytes) bytes", "\(counters.syncs) syncs",
      "\(counters.busySyncs) busy", "\(counters.sleeps) sleeps",
    ]
    for (name, value) in [
      ("resets", counters.resets), ("retries", counters.retries),
      ("broadcasts", counters.broadcasts), ("copies", counters.copies),
      ("packets by the short cut", counters.shortCutPackets),
    ] where value > 0 { facts.append("\(value) \(name)") }
    if counters.repairs.total > 0 { facts.append("repairs (\(counters.repairs))") }
    let drops = counters.drops
    facts.append(drops.total == 0 ? "no drops" : "\(drops.total) drops (\(drops))")
    return "counted: " + facts.joined(separator: ", ")
  }

  // MARK: - Switches

  private func describe(_ vale: DumpedSwitch) -> [String] {
    var lines = ["switch \(vale.name): \(vale.members.count) ports"]
    for member in vale.members {
      var facts = ["generation \(member.generation)"]
      if !member.isLinked { facts.append("senders do not find it") }
      if member.isHidden { facts.append("of a module host") }
      if member.isHolding { facts.append("backpressure") }
      if member.unknownRegion > 0 { facts.append("unknown_region \(member.unknownRegion)") }
      if member.noReceiver > 0 { facts.append("no_receiver \(member.noReceiver)") }
      lines.append("  index \(member.index): \(member.name), \(facts.joined(separator: ", "))")
    }
    for (address, port) in vale.addresses {
      let bytes = (0..<6).map { TextFormat.hexadecimal(UInt32(address >> (8 * $0) & 0xff), 2) }
      lines.append("  \(bytes.joined(separator: ":")) is at index \(port)")
    }
    return lines
  }

  // MARK: - Words

  private func list(_ words: [String]) -> String { words.joined(separator: ", ") }

  /// For example `pkt-gen (4711, stopped)`.
  func name(_ process: Int32) -> String { processes[process] ?? "process \(process)" }

  func describe(_ client: DumpedClient) -> String {
    switch client {
    case .process(let process): name(process)
    case .ended(let slot, let epoch): "a client that has ended (slot \(slot), epoch \(epoch))"
    }
  }

  func describe(_ sleeper: DumpedSleeper) -> String {
    switch sleeper {
    case .futex(let binding): "the futex of binding \(binding)"
    case .doorbell(let number, let client):
      "doorbell \(number) of \(client.map(describe) ?? "no attached client")"
    case .several: "several sleepers, see the list of waiters"
    }
  }
}
