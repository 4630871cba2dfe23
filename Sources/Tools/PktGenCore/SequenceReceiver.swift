internal import Netmap
internal import Synchronization
internal import ToolSupport

/// The results of `rxseq`, for all rings together.
package struct SequenceSummary: Hashable, Sendable {
  /// Number of gaps in the sequence.
  package var gaps: UInt64 = 0
  /// Number of missing packets in all gaps.
  package var missing: UInt64 = 0
  package var outOfOrder: UInt64 = 0
  /// Frames too short to hold a number.
  package var tooShort: UInt64 = 0
  /// Packets with a different number of slots than the packet before.
  package var fragmentChanges: UInt64 = 0
}

/// `-f rxseq`: counts slots, and checks the numbers that `txseq` wrote into them, ring by ring.
struct SequenceReceiver {
  private let worker: Worker
  private var rings: [RingState]
  private var summary = SequenceSummary()
  private var tally = Tally()
  private var sequenceLimit = RateLimit(2)
  private var fragmentLimit = RateLimit(1)
  private var lengthLimit = RateLimit(1)

  private struct RingState {
    var expected: UInt32?
    var fragments = 0
    var expectedFragments: Int?
  }

  static func run(_ worker: Worker) throws(TrafficFailure) {
    var receiver = SequenceReceiver(worker)
    try receiver.loop()
  }

  private init(_ worker: Worker) {
    self.worker = worker
    rings = [RingState](repeating: RingState(), count: worker.port.receiveRingCount)
  }

  private mutating func loop() throws(TrafficFailure) {
    try Receiver.waitForFirst(worker)
    worker.counters.begin()
    var silence = Silence(worker)
    var end: UInt64?
    while !worker.stop.isRequested {
      guard let hasPackets = try worker.waitForPackets(.seconds(1)) else { continue }
      end = silence.end(hasPackets: hasPackets)
      if end != nil { break }
      var space: UInt64 = 0
      for index in rings.indices {
        let view = worker.port.receiveRing(index)
        space &+= UInt64(view.slotCount - view.count)
        visit(index)
      }
      worker.counters.note(space: space)
      worker.counters.publish(tally)
    }
    try worker.link.sync(.receive)
    let summary = summary
    worker.counters.findings.withLock { $0 = .sequence(summary) }
    worker.counters.complete(at: end ?? Clock.monotonic())
  }

  private mutating func visit(_ index: Int) {
    let view = worker.port.receiveRing(index)
    let ring = unsafe view.unsafeRing
    let count = min(view.count, worker.configuration.burst)
    if count == 0 { return }
    let first = unsafe ring.head
    var head = first
    var state = rings[index]
    for number in 0..<count {
      let slot = unsafe ring.slot(head).pointee
      unsafe checkFragments(ring, slot, at: head, inBatch: number + 1, &state)
      checkNumber(unsafe self.number(ring, slot), slot, &state)
      tally.bytes &+= UInt64(slot.length)
      head = unsafe ring.next(head)
    }
    rings[index] = state
    if worker.configuration.options.contains(.dump) {
      unsafe PacketDump.print(ring, from: first, upTo: head, index, worker.output)
    }
    tally.packets &+= UInt64(count)
    tally.events &+= 1
    unsafe ring.cur = head
    unsafe ring.head = head
  }

  /// The number in a frame; nil when the frame is too short to hold one.
  private func number(_ ring: Ring, _ slot: Slot) -> UInt32? {
    let virtio = worker.configuration.virtioHeaderLength
    let length = unsafe min(Int(slot.length), Int(ring.bufferSize))
    let frame = unsafe RawSpan(_unsafeStart: ring.buffer(slot.bufferIndex), byteCount: length)
    guard length >= virtio + FrameLayout.ethernetLength else { return nil }
    let family: Family = frame.uint16(at: virtio + 12) == 0x0800 ? .ipv4 : .ipv6
    let place = virtio + FrameLayout(family).payload
    return length >= place + 4 ? frame.uint32(at: place) : nil
  }

  private mutating func checkNumber(
    _ found: UInt32?, _ slot: Slot, _ state: inout RingState
  ) {
    guard let found else {
      summary.tooShort += 1
      if lengthLimit.allows() { log("packet too small (len=\(slot.length))") }
      return
    }
    // The first number on a ring can be any number.
    if let expected = state.expected, expected != found {
      let ahead = found &- expected
      let isGap = ahead < UInt32.max >> 1
      if isGap {
        summary.gaps += 1
        summary.missing += UInt64(ahead)
      } else {
        summary.outOfOrder += 1
      }
      if sequenceLimit.allows() {
        log("Sequence \(isGap ? "GAP" : "OUT OF ORDER"): exp \(expected) found \(found)")
      }
    }
    state.expected = found &+ 1
  }

  /// Detects packets with more or fewer slots than before.
  ///
  /// `count` is the number of slots of this batch up to this one. Slots before them may have been
  /// returned to the sender.
  @inline(__always)
  private mutating func checkFragments(
    _ ring: Ring, _ slot: Slot, at place: UInt32, inBatch count: Int, _ state: inout RingState
  ) {
    state.fragments += 1
    if slot.flags.contains(.moreFragments) { return }
    let fragments = state.fragments
    state.fragments = 0
    defer { state.expectedFragments = fragments }
    guard let expected = state.expectedFragments, expected != fragments else { return }
    summary.fragmentChanges += 1
    guard fragmentLimit.allows() else { return }
    let slots = unsafe describe(ring, endingAt: place, min(fragments, count))
    log("Received packets with \(fragments) frags, expected \(expected), '\(slots)'")
  }

  private func describe(_ ring: Ring, endingAt place: UInt32, _ count: Int) -> String {
    var text = ""
    for back in (0..<count).reversed() {
      let index = unsafe (Int(place) - back + Int(ring.slotCount)) % Int(ring.slotCount)
      let slot = unsafe ring.slot(UInt32(index)).pointee
      text += "|\(slot.length),\(String(slot.flags.rawValue, radix: 16))|"
    }
    return text
  }

  private func log(_ message: String) {
    worker.log(message, function: "rxseq_body")
  }
}
