internal import Glibc
internal import Netmap
internal import Synchronization
internal import ToolSupport

/// `-f ping`: sends requests, and measures the time until their replies arrive.
///
/// The payload begins with the request's number (32 bits) and the wall-clock time (seconds and
/// nanoseconds, 32 bits each), all in host order: at offset 42 of an IPv4 frame.
struct Ping {
  /// Bytes in the number and the time.
  static let stampLength = 12

  private let worker: Worker
  private let template: FrameTemplate
  /// Offset of the stamp in the frame, without the virtio header.
  private let stampOffset: Int
  private let udpChecksum: Int?
  private var trips = RoundTrips()
  private var tally = Tally()
  /// Number of requests that were answered or given up as lost.
  private var settled: UInt64 = 0

  init(_ worker: Worker) throws(TrafficFailure) {
    self.worker = worker
    do throws(Refusal) {
      template = try FrameTemplate.make(
        for: worker.configuration, sourceMAC: worker.sourceMAC, stamp: Self.stampLength)
    } catch {
      throw TrafficFailure(error.message)
    }
    stampOffset = FrameLayout(worker.configuration.family).payload
    udpChecksum = template.layout?.udpChecksum
    guard template.length - template.virtioLength >= stampOffset + Self.stampLength else {
      throw TrafficFailure(
        "ping needs frames of at least \(stampOffset + Self.stampLength) bytes; raise -l")
    }
    guard template.length <= worker.port.bufferSize else {
      throw TrafficFailure(
        "ping frames must fit one buffer of \(worker.port.bufferSize) bytes; lower -l")
    }
  }

  consuming func run() throws(TrafficFailure) {
    let limit = worker.packetLimit
    var pacer = Pacer(worker.burstPlan, stop: worker.stop)
    worker.counters.begin(at: pacer.begin(aligned: worker.configuration.alignsStart))
    var second = Clock.monotonic()
    while !worker.stop.isRequested && (limit == 0 || trips.summary.sent < limit) {
      let budget = UInt64(pacer.budget())
      let wanted = limit == 0 ? budget : min(budget, limit - trips.summary.sent)
      pacer.spend(send(Int(wanted)))
      tally.events += 1
      publish()
      try awaitReplies(.seconds(3))
      report(&second)
    }
    // Requests of the last batch may still be in flight.
    while !worker.stop.isRequested, outstanding > 0 { try awaitReplies(.seconds(1)) }
    publish()
    worker.log(trips.finalMessage, function: "ping_body")
    let summary = trips.summary
    worker.counters.findings.withLock { $0 = .roundTrips(summary) }
    worker.counters.complete()
  }

  /// Number of requests that may still be answered.
  private var outstanding: UInt64 {
    let open = trips.summary.lost
    return open > settled ? open - settled : 0
  }

  private func publish() {
    worker.counters.publish(tally)
  }

  /// Queues requests on the first transmit ring.
  ///
  /// - Returns: The number of requests that found room.
  private mutating func send(_ count: Int) -> Int {
    let view = worker.port.transmitRing(0)
    let ring = unsafe view.unsafeRing
    let sent = min(count, view.space)
    if sent < count { worker.log("-- ouch, cannot send", function: "ping_body") }
    var head = unsafe ring.head
    for _ in 0..<sent {
      let slot = unsafe ring.slot(head)
      let packet = unsafe ring.buffer(slot.pointee.bufferIndex)
      unsafe memcpy(packet, template.start, template.length)
      unsafe stamp(packet + template.virtioLength, number: trips.send(), time: Clock.wall())
      unsafe slot.pointee.length = UInt16(truncatingIfNeeded: template.length)
      unsafe slot.pointee.flags = []
      tally.packets &+= 1
      tally.bytes &+= UInt64(template.length)
      head = unsafe ring.next(head)
    }
    unsafe ring.cur = head
    unsafe ring.head = head
    return sent
  }

  private func stamp(_ frame: UnsafeMutableRawPointer, number: UInt64, time: UInt64) {
    let words = [
      UInt32(truncatingIfNeeded: number), UInt32(truncatingIfNeeded: time / 1_000_000_000),
      UInt32(truncatingIfNeeded: time % 1_000_000_000),
    ]
    for (index, word) in words.enumerated() {
      unsafe frame.storeBytes(of: word, toByteOffset: stampOffset + index * 4, as: UInt32.self)
    }
    guard let udpChecksum else { return }
    // The template has zeros here.
    var change = ChecksumChange()
    for word in words { change.replace(0, with: word.bigEndian) }
    let old = unsafe UInt16(
      bigEndian: frame.loadUnaligned(fromByteOffset: udpChecksum, as: UInt16.self))
    let new = change.applied(toUDP: old)
    unsafe frame.storeBytes(of: new.bigEndian, toByteOffset: udpChecksum, as: UInt16.self)
  }

  /// Sends queued requests, waits for a reply, and takes all replies that have arrived.
  private mutating func awaitReplies(_ timeout: Duration) throws(TrafficFailure) {
    if worker.configuration.busyWaits { try worker.link.sync(.transmit) }
    worker.counters.awaited = .replies
    defer { worker.counters.awaited = .nothing }
    let deadline = Clock.monotonic() + UInt64(timeout.components.seconds) * 1_000_000_000
    while !worker.stop.isRequested {
      let hasPackets = try worker.waitForPackets(timeout)
      if hasPackets == true {
        take()
        return
      }
      if hasPackets == false, !worker.configuration.busyWaits || Clock.monotonic() >= deadline {
        worker.log("poll error on queue \(worker.index): timeout", function: "ping_body")
        settled = trips.summary.lost
        return
      }
    }
  }

  private mutating func take() {
    for index in 0..<worker.port.receiveRingCount {
      let view = worker.port.receiveRing(index)
      let ring = unsafe view.unsafeRing
      var head = unsafe ring.head
      for _ in 0..<view.count {
        let slot = unsafe ring.slot(head).pointee
        let packet = unsafe ring.buffer(slot.bufferIndex)
        let length = unsafe min(Int(slot.length), Int(ring.bufferSize))
        if length >= template.virtioLength + stampOffset + Self.stampLength {
          unsafe take(UnsafeRawPointer(packet) + template.virtioLength + stampOffset)
        } else {
          trips.receiveForeign()
        }
        head = unsafe ring.next(head)
      }
      unsafe ring.cur = head
      unsafe ring.head = head
    }
  }

  private mutating func take(_ stamp: UnsafeRawPointer) {
    let number = unsafe stamp.loadUnaligned(as: UInt32.self)
    let seconds = unsafe stamp.loadUnaligned(fromByteOffset: 4, as: UInt32.self)
    let nanoseconds = unsafe stamp.loadUnaligned(fromByteOffset: 8, as: UInt32.self)
    let then = UInt64(seconds) * 1_000_000_000 + UInt64(nanoseconds)
    let now = Clock.wall()
    // If the clock was set back in the meantime, count 0 instead of a negative time.
    trips.receive(number, after: now > then ? now - then : 0)
  }

  /// Logs the results, once per second.
  private mutating func report(_ last: inout UInt64) {
    let now = Clock.monotonic()
    guard now - last >= 1_000_000_000 else { return }
    last = now
    for message in trips.takeSecond() { worker.log(message, function: "ping_body") }
  }
}
