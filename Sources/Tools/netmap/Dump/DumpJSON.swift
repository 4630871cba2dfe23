internal import NetmapCore
internal import ToolSupport

/// A dump as JSON: one object for each port, one for each switch, and one for the check.
struct DumpJSON {
  private let engine: DumpedEngine
  private let text: DumpText

  init(_ engine: DumpedEngine) {
    self.engine = engine
    text = DumpText(engine)
  }

  func lines(_ report: CheckReport?) -> [String] {
    engine.dumpedPorts.map { line($0).text } + engine.dumpedSwitches.map { line($0).text }
      + [line(report).text]
  }

  private func line(_ report: CheckReport?) -> JSONLine {
    var line = JSONLine()
    line.add("checked", report != nil)
    line.add("seconds", engine.dump.seconds)
    line.add("ports", report?.ports ?? 0)
    line.add("regions", report?.regions ?? 0)
    line.add("buffers", report?.buffers ?? 0)
    line.add("findings", report?.findings ?? [])
    line.add("moving", report?.moving ?? [])
    return line
  }

  private func line(_ port: DumpedPort) -> JSONLine {
    var line = JSONLine()
    line.add("port", port.name)
    line.add("kind", port.kind)
    line.add("memory", port.memoryID)
    line.add("places", port.places)
    line.add("persistent", port.isPersistent)
    line.add("bindings", port.bindings.map(self.line))
    line.add("waiters", port.waiters.map(text.describe))
    line.add("rings", port.rings.map(self.line))
    return line
  }

  private func line(_ binding: DumpedBinding) -> JSONLine {
    var line = JSONLine()
    line.add("binding", binding.index)
    line.add("exclusive", binding.isExclusive)
    line.add("futex_rung", binding.bellCount)
    if let owner = binding.owner {
      line.add("open", owner.isOpen)
      line.add("isolated", owner.isIsolated)
      line.add("user", owner.user)
      line.add("opened_by", owner.opener)
      line.add("mapped_by", owner.viewers.map(String.init).joined(separator: " "))
    }
    return line
  }

  private func line(_ ring: DumpedRing) -> JSONLine {
    var line = JSONLine()
    line.add("direction", "\(ring.direction)")
    line.add("ring", ring.index)
    line.add("slots", ring.slots)
    line.add("moving", ring.isMoving)
    let kring = ring.cursors
    for (name, value) in [
      ("head", ring.head), ("cur", ring.cur), ("tail", ring.tail), ("hwcur", kring.hwcur),
      ("rhead", kring.rhead), ("rcur", kring.rcur), ("rtail", kring.rtail),
      ("hwtail", kring.hwtail), ("position", kring.position), ("published", ring.published),
    ] { line.add(name, value) }
    if let lock = ring.lock { line.add("locked_by", text.describe(lock)) }
    line.add("sleepers", ring.sleepers.map(text.describe))
    if let next = ring.reservation { line.add("next_lease", next.sequence) }
    if let next = ring.arriving { line.add("awaited_lease", next.sequence) }
    line.add("leases", ring.leases.map(self.line))
    if let announced = ring.announced {
      line.add("announced_lease", announced.sequence)
      line.add("announced_slots", announced.slots)
      line.add("announced_for", announced.target)
    }
    if ring.holdsSenders {
      line.add("held_senders", ring.heldSenders.map(String.init).joined(separator: " "))
    }
    let counters = ring.counters
    for (name, value) in [
      ("packets", counters.packets), ("bytes", counters.bytes), ("syncs", counters.syncs),
      ("busy", counters.busySyncs), ("sleeps", counters.sleeps), ("resets", counters.resets),
      ("retries", counters.retries), ("broadcasts", counters.broadcasts),
      ("copies", counters.copies), ("short_cut_packets", counters.shortCutPackets),
      ("drops", counters.drops.total),
    ] { line.add(name, value) }
    line.add("repairs", JSONLine(counters.repairs))
    line.add("reasons", JSONLine(counters.drops))
    return line
  }

  private func line(_ lease: DumpedLease) -> JSONLine {
    var line = JSONLine()
    line.add("lease", lease.sequence)
    line.add("slot", lease.start)
    line.add("finished", lease.finishedSlots != nil)
    line.add("slots", lease.finishedSlots ?? 0)
    line.add("packets", lease.packets)
    line.add("senders", lease.senders.map(\.ring))
    return line
  }

  private func line(_ vale: DumpedSwitch) -> JSONLine {
    var line = JSONLine()
    line.add("switch", vale.name)
    line.add(
      "ports",
      vale.members.map { member in
        var line = JSONLine()
        line.add("index", member.index)
        line.add("name", member.name)
        line.add("generation", member.generation)
        line.add("linked", member.isLinked)
        line.add("unknown_region", member.unknownRegion)
        line.add("no_receiver", member.noReceiver)
        return line
      })
    line.add("addresses", vale.addresses.count)
    return line
  }
}
