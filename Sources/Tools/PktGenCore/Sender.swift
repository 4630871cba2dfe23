internal import Netmap
internal import ToolSupport

/// `-f tx`: sends one packet repeatedly, or with changing addresses, as fast as possible or at a
/// rate.
@safe
struct Sender {
  private let worker: Worker
  private let template: FrameTemplate
  private let fragments: FragmentPlan
  /// For each slot of each ring, the buffer that holds the packet.
  private let known: [KnownBuffers]
  private let configuration: Configuration
  /// Whether packets differ, so that each is written.
  private let copies: Bool
  private var pacer: Pacer
  private var writer: PacketWriter
  private var random: RandomSource
  private var tally = Tally()

  init(_ worker: Worker) throws(TrafficFailure) {
    self.worker = worker
    configuration = worker.configuration
    copies = configuration.copies
    do throws(Refusal) {
      template = try FrameTemplate.make(for: configuration, sourceMAC: worker.sourceMAC)
    } catch {
      throw TrafficFailure(error.message)
    }
    let port = worker.port
    fragments = FragmentPlan(
      length: template.length, wanted: configuration.fragments, limit: configuration.fragmentSize,
      bufferSize: port.bufferSize)
    known = (0..<port.transmitRingCount).map { KnownBuffers(port.transmitRing($0).slotCount) }
    pacer = Pacer(worker.burstPlan, stop: worker.stop)
    unsafe writer = unsafe PacketWriter(
      template, configuration, bufferSize: port.bufferSize, seed: worker.seed)
    random = RandomSource(seed: worker.seed &+ 1)
  }

  /// Sends until the count is reached or a stop is requested.
  consuming func run() throws(TrafficFailure) {
    let log = worker.log
    log("start, fd -1 main_fd -1", function: "sender_body")
    log("frags \(fragments.count) frag_size \(fragments.size)", function: "sender_body")
    for index in known.indices {
      let slots = worker.port.transmitRing(index).slotCount
      guard fragments.count < slots else {
        throw TrafficFailure(
          "packets of \(fragments.count) slots do not fit ring \(index), which has \(slots)")
      }
    }
    if configuration.options.contains(.indirect) {
      unsafe worker.port.allowIndirect(
        from: UnsafeRawBufferPointer(start: template.start, count: template.length))
    }
    worker.counters.begin()
    worker.counters.begin(at: pacer.begin(aligned: configuration.alignsStart))
    try loop()
    try worker.flush()
    worker.counters.complete()
    // The writer and the slots of indirect packets point into the template.
    withExtendedLifetime(template) {}
  }

  private mutating func loop() throws(TrafficFailure) {
    let limit = worker.packetLimit
    // Locals, so that the loop counts no references.
    let (port, counters, stop) = (worker.port, worker.counters, worker.stop)
    let known = known
    let isPaced = pacer.isPaced
    while !stop.isRequested && (limit == 0 || tally.packets < limit) {
      if isPaced { counters.awaited = .nothing }
      // May wait; the next line checks for a stop request.
      var budget = pacer.budget()
      guard !stop.isRequested, try worker.waitForRoom() else { continue }
      for index in known.indices {
        let left = limit == 0 ? budget : Int(clamping: min(UInt64(budget), limit - tally.packets))
        if left == 0 { break }
        let sent = unsafe visit(index, left, port, counters, known[index].buffers)
        pacer.spend(sent)
        if isPaced { budget -= sent }
      }
      counters.publish(tally)
      // With a rate, a batch leaves when it is due, not together with the next batch.
      if isPaced { try worker.link.sync(.transmit) }
    }
  }

  /// Sends up to `wanted` packets on one ring.
  ///
  /// - Returns: The number of packets sent.
  private mutating func visit(
    _ index: Int, _ wanted: Int, _ port: NetmapPort, _ counters: WorkerCounters,
    _ known: UnsafeMutablePointer<UInt32>
  ) -> Int {
    let view = port.transmitRing(index)
    let ring = unsafe view.unsafeRing
    let space = view.space
    let count = fragments.count == 1 ? min(wanted, space) : min(wanted, space / fragments.count)
    if count > 0 {
      counters.awaited = .nothing
      let first = unsafe ring.head
      let filled = unsafe fill(ring, from: first, count, known)
      let last = unsafe filled.head == 0 ? ring.slotCount - 1 : filled.head - 1
      // One report, for the last slot, is enough.
      unsafe ring.slot(last).pointee.flags.insert(.report)
      if configuration.options.contains(.dump) {
        unsafe PacketDump.print(ring, from: first, upTo: filled.head, index, worker.output)
      }
      unsafe ring.cur = filled.head
      unsafe ring.head = filled.head
      tally.packets &+= UInt64(count)
      tally.bytes &+= filled.bytes
      tally.events &+= 1
    }
    // The next wait is for more room than now.
    if count < wanted { unsafe ring.cur = ring.tail }
    return count
  }

  private mutating func fill(
    _ ring: Ring, from first: UInt32, _ count: Int, _ known: UnsafeMutablePointer<UInt32>
  ) -> Filled {
    guard let minimum = configuration.minimumSize else {
      var length = FixedLength(length: template.length)
      return unsafe fill(ring, from: first, count, known, &length)
    }
    let lower = minimum + template.virtioLength
    if configuration.sizePerPacket {
      var lengths = RandomLength(lower: lower, upper: template.length, random: random)
      defer { random = lengths.random }
      return unsafe fill(ring, from: first, count, known, &lengths)
    }
    var length = FixedLength(length: random.number(from: lower, upTo: template.length))
    return unsafe fill(ring, from: first, count, known, &length)
  }

  @inline(__always)
  private mutating func fill<L: LengthSource>(
    _ ring: Ring, from first: UInt32, _ count: Int, _ known: UnsafeMutablePointer<UInt32>,
    _ lengths: inout L
  ) -> Filled {
    let options = configuration.options
    if options.contains(.rubbish) && fragments.count == 1 {
      return unsafe FillLoops.rubbish(ring, from: first, count, &lengths)
    }
    if options.contains(.indirect) && template.length <= Int(UInt16.max) {
      return unsafe FillLoops.indirect(ring, from: first, count, template.start, &lengths)
    }
    if fragments.count > 1 {
      return unsafe FillLoops.fragmented(
        ring, from: first, count, &writer, fragmentSize: fragments.size,
        fragmentCount: fragments.count, &lengths)
    }
    if copies {
      return unsafe FillLoops.copying(ring, from: first, count, &writer, known: known, &lengths)
    }
    return unsafe FillLoops.steady(
      ring, from: first, count, template.start, template.length, known: known,
      prefetches: options.contains(.prefetch), &lengths)
  }
}

/// For each slot of a ring, the number of the buffer that was filled there.
///
/// Shows when a slot has another buffer since.
@safe
final class KnownBuffers {
  @unsafe let buffers: UnsafeMutablePointer<UInt32>

  init(_ count: Int) {
    unsafe buffers = .allocate(capacity: max(count, 1))
    // No buffer has this number.
    unsafe buffers.initialize(repeating: .max, count: max(count, 1))
  }

  deinit {
    unsafe buffers.deallocate()
  }
}
