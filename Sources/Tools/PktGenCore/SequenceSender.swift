internal import Netmap
internal import ToolSupport

/// `-f txseq`: sends numbered frames on the first ring until a stop is requested.
///
/// The number has 32 bits, most significant byte first, at the beginning of the payload. If a packet has
/// several slots, each slot holds a complete frame and counts as one.
@safe
struct SequenceSender {
  private let worker: Worker
  private let template: FrameTemplate
  private var pacer: Pacer
  private var writer: PacketWriter
  private let frameOffset: Int
  private let payload: Int
  private let udpChecksum: Int
  private var sequence: UInt32 = 0
  private var tally = Tally()
  private let fragments: Int

  init(_ worker: Worker) throws(TrafficFailure) {
    self.worker = worker
    var configuration = worker.configuration
    // Every frame differs.
    configuration.copiesWholeFrame = true
    do throws(Refusal) {
      template = try FrameTemplate.make(
        for: configuration, sourceMAC: worker.sourceMAC, stamp: 4)
    } catch {
      throw TrafficFailure(error.message)
    }
    let port = worker.port
    guard let layout = template.layout else {
      throw TrafficFailure("txseq builds its own frames; -P cannot be used with txseq")
    }
    guard template.length <= port.bufferSize else {
      throw TrafficFailure(
        "txseq frames must fit one buffer of \(port.bufferSize) bytes; lower -l")
    }
    fragments = configuration.fragments
    guard fragments < port.transmitRing(0).slotCount else {
      throw TrafficFailure("packets of \(fragments) slots do not fit the ring")
    }
    frameOffset = template.virtioLength
    payload = layout.payload
    udpChecksum = layout.udpChecksum
    pacer = Pacer(worker.burstPlan, stop: worker.stop)
    unsafe writer = unsafe PacketWriter(
      template, configuration, bufferSize: port.bufferSize, seed: worker.seed)
  }

  consuming func run() throws(TrafficFailure) {
    let log = worker.log
    if worker.configuration.packetLimit > 0 {
      log("Ignoring -n argument", function: "txseq_body")
    }
    log("start, fd -1 main_fd -1", function: "txseq_body")
    worker.counters.begin()
    worker.counters.begin(at: pacer.begin(aligned: worker.configuration.alignsStart))
    while !worker.stop.isRequested {
      if pacer.isPaced { worker.counters.awaited = .nothing }
      // Never send part of a packet.
      let budget = max(pacer.budget(), fragments)
      guard !worker.stop.isRequested, try worker.waitForRoom() else { continue }
      pacer.spend(visit(budget))
      worker.counters.publish(tally)
      if pacer.isPaced { try worker.link.sync(.transmit) }
    }
    try worker.flush()
    worker.counters.complete()
    // The writer points into the template.
    withExtendedLifetime(template) {}
  }

  private mutating func visit(_ wanted: Int) -> Int {
    let view = worker.port.transmitRing(0)
    let ring = unsafe view.unsafeRing
    let count = min(wanted, view.space) / fragments * fragments
    if count > 0 {
      worker.counters.awaited = .nothing
      let first = unsafe ring.head
      let head = unsafe fill(ring, from: first, count)
      let last = unsafe head == 0 ? ring.slotCount - 1 : head - 1
      unsafe ring.slot(last).pointee.flags.insert(.report)
      if worker.configuration.options.contains(.dump) {
        unsafe PacketDump.print(ring, from: first, upTo: head, 0, worker.output)
      }
      unsafe ring.cur = head
      unsafe ring.head = head
      tally.packets &+= UInt64(count)
      tally.bytes &+= UInt64(count * template.length)
      tally.events &+= 1
    }
    if view.space < wanted { unsafe ring.cur = ring.tail }
    return count
  }

  @inline(never)
  private mutating func fill(_ ring: Ring, from first: UInt32, _ count: Int) -> UInt32 {
    var head = first
    var local = unsafe writer
    var number = sequence
    let frame = unsafe local.packet + frameOffset
    let length = template.length
    var left = fragments
    for _ in 0..<count {
      unsafe put(number, frame)
      number &+= 1
      let slot = unsafe ring.slot(head)
      unsafe local.write(to: ring.buffer(slot.pointee.bufferIndex), length, isKnown: true)
      unsafe slot.pointee.length = UInt16(truncatingIfNeeded: length)
      left -= 1
      unsafe slot.pointee.flags = left > 0 ? .moreFragments : []
      if left == 0 {
        left = fragments
        unsafe local.advance()
      }
      head = unsafe ring.next(head)
    }
    unsafe writer = unsafe local
    sequence = number
    return head
  }

  /// Writes a number into the frame, and updates the checksum.
  @inline(__always)
  private func put(_ number: UInt32, _ frame: UnsafeMutableRawPointer) {
    let place = unsafe frame + payload
    let old = unsafe UInt32(bigEndian: place.loadUnaligned(as: UInt32.self))
    unsafe place.storeBytes(of: number.bigEndian, as: UInt32.self)
    let field = unsafe frame + udpChecksum
    let sum = unsafe UInt16(bigEndian: field.loadUnaligned(as: UInt16.self))
    var change = ChecksumChange()
    change.replace(old, with: number)
    unsafe field.storeBytes(of: change.applied(toUDP: sum).bigEndian, as: UInt16.self)
  }
}
