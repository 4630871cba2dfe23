/// The host's side of a redirected switch: takes packets out of the host's receive ring, asks the
/// module, and delivers them.
///
/// It delivers each packet as the port that sent the packet would have. It runs in one thread of
/// the host's own process. The host's port is an ordinary port of the switch. Like any sender, the
/// host holds the lock of its transmit ring while it delivers packets.
@safe
package final class HostedForwarder {
  private let port: MappedPort
  private let module: LoadedModule
  private let vale: SwitchMapping
  /// The generations of the ports, to detect ports that have left.
  private var generations = [UInt32](repeating: 0, count: SwitchLimits.ports)

  /// The most slots to handle before the ring is given back.
  ///
  /// This limits the packets lost when the module traps, and the time in which netmapd sees no
  /// progress of a slow module.
  private static let turnLimit: UInt32 = 64

  /// - Throws: ``NetmapError`` `EINVAL` when the port is on no switch, or lacks a transmit or a
  ///   receive ring.
  package init(
    _ port: MappedPort, module: LoadedModule
  ) throws(NetmapError) {
    guard let vale = port.vale, port.transmitCount > 0, port.receiveCount > 0 else {
      throw NetmapError(
        .invalidArgument, "forward", "module host", reason: "its port is not on a switch")
    }
    self.port = port
    self.module = module
    self.vale = vale
  }

  /// The index of the host's port.
  package var index: Int { vale.index }

  /// Whether senders put their packets into this host's ring now.
  package var isInUse: Bool {
    let program = unsafe vale.segment.view.program
    return program.kind == .hosted && program.host == vale.index
  }

  /// Selects the switch's fallback when this host stops and no other process can select it.
  package func leave(_ fallback: SwitchModuleChoice.Fallback) {
    let view = unsafe vale.segment.view
    let program = unsafe view.program
    guard isInUse else { return }
    unsafe view.setProgram(
      ModuleProgram(
        fallback == .stop ? .stopped : .learning, area: program.area, epoch: program.epoch &+ 1))
  }

  /// Publishes the module's statistics, for listings.
  package func report() {
    guard isInUse else { return }
    let statistics = module.statistics
    // Holds the lock, as senders do while they read configurations: the engine does not rewrite the
    // area meanwhile.
    let transmit = unsafe port.transmit(0)
    guard unsafe transmit.begin() else { return }
    defer { unsafe transmit.end() }
    unsafe transmit.kring.count(.syncs)
    let view = unsafe vale.segment.view
    if isInUse { unsafe HostReport(view.configuration(view.program.area)).store(statistics) }
  }

  /// Tells the module which ports have left since the last call.
  package func notePorts() {
    for index in 0..<SwitchLimits.ports {
      let now = unsafe vale.segment.view.generation(of: index)
      if generations[index] != 0, generations[index] != now { module.portLeft(index) }
      generations[index] = now
    }
  }

  /// Handles packets that have arrived, up to a limit.
  ///
  /// - Returns: The number of slots handled.
  package func turn() -> Int {
    let (receive, transmit) = unsafe (port.receive(0), port.transmit(0))
    _ = unsafe receive.synchronizeReceive(.forceRead)
    let (head, tail) = unsafe (receive.ring.head, receive.ring.tail)
    guard head != tail, unsafe max(head, tail) < receive.ring.slotCount else {
      return 0
    }
    guard let path = unsafe transmit.parts.pointee.switching,
      let scratch = unsafe path.pointee.scratch, unsafe transmit.begin()
    else { return 0 }
    unsafe transmit.kring.count(.syncs)
    var forwarder = unsafe Forwarder(
      ring: receive.ring, kring: transmit.kring, doorbells: transmit.doorbells, path, scratch)
    let end = unsafe forwarder.forwardHosted(
      from: head, upTo: tail, limit: Self.turnLimit, module.entry)
    unsafe transmit.end()
    unsafe receive.ring.head = end
    unsafe receive.ring.cur = end
    _ = unsafe receive.synchronizeReceive(.forceRead)
    return unsafe Int(receive.ring.distance(from: head, to: end))
  }
}

extension Forwarder {
  /// Forwards packets of other ports' senders, batch by batch; consecutive packets from one ring
  /// form a batch.
  ///
  /// - Returns: The first slot that was not handled.
  mutating func forwardHosted(
    from: UInt32, upTo tail: UInt32, limit: UInt32, _ module: UnsafePointer<ModuleEntry>
  ) -> UInt32 {
    var index = from
    var origin: PacketOrigin?
    var count = 0
    var (packets, bytes): (UInt64, UInt64) = (0, 0)
    while index != tail, unsafe ring.distance(from: from, to: index) < limit {
      let start = index
      let first = count
      let source = unsafe PacketOrigin(ring.place(index).loadPointer())
      let isWhole = unsafe takePacket(&index, tail, &count)
      packets &+= 1
      guard isWhole, let source, unsafe frames[first].length > 0 else {
        // An empty slot of a sender that has died, or a slot that no sender wrote. The ring has not counted the former
        // as a packet (``HostBacklog``).
        if isWhole, count &- first == 1, unsafe frames[first].length == 0 { packets &-= 1 }
        count = first
        continue
      }
      if let origin, origin != source {
        // The packet that was just read begins the next batch.
        unsafe flushHosted(first, from: origin, module)
        count = 0
        index = start
        packets &-= 1
        unsafe kring.count(.packets, packets)
        packets = 0
      } else {
        unsafe frames[first].fragments = UInt8(truncatingIfNeeded: count &- first)
        for place in first..<count { unsafe bytes &+= UInt64(frames[place].length) }
      }
      origin = count > 0 ? source : nil
    }
    if let origin, count > 0 { unsafe flushHosted(count, from: origin, module) }
    unsafe kring.count(.packets, packets)
    unsafe kring.count(.bytes, bytes)
    return index
  }

  /// Reads the slots of one packet, once each.
  ///
  /// - Returns: Whether the packet is valid: any process on the switch may have written to its
  ///   slots.
  private mutating func takePacket(_ index: inout UInt32, _ tail: UInt32, _ count: inout Int)
    -> Bool
  {
    var isWhole = true
    var fragments = 0
    while index != tail {
      let slot = unsafe ring.loadWord(index)
      index = unsafe ring.next(index)
      let continues = slot.flags.contains(.moreFragments) && index != tail
      if unsafe ring.rule.fault(of: slot) != nil || fragments == SwitchLimits.fragments {
        isWhole = false
      } else {
        unsafe frames[count] = Frame(
          bytes: UnsafeRawPointer(ring.buffer(slot.buffer)), room: ring.bufferSize,
          length: UInt16(truncatingIfNeeded: slot.length), continues: continues)
        count &+= 1
        fragments &+= 1
      }
      if !continues { break }
    }
    return isWhole
  }

  private mutating func flushHosted(
    _ count: Int, from origin: PacketOrigin, _ module: UnsafePointer<ModuleEntry>
  ) {
    unsafe port = origin.port
    unsafe ringIndex = origin.ring
    unsafe headerLength = origin.headerLength
    if origin.headerLength > 0 { unsafe skipHeaders(count) }
    unsafe ask(module, count)
    unsafe countDecided(distribute(count))
    if origin.headerLength > 0 { unsafe restoreHeaders(count) }
    unsafe deliverLists()
  }
}
