internal import Glibc
internal import Netmap

/// The progress of one end of a pipe.
struct Progress: Sendable {
  var packets: UInt64 = 0
  /// How often this end yielded its CPU to the other end.
  var yields: UInt64 = 0
}

/// The measured loops: each moves at most `batch` packets per sync.
///
/// `Benchmarks/Sources/PipeReference` has the same loops in C: change both. The loops keep counters in locals
/// and store them at the end, to avoid stores on the packet path.
enum PipeLoops<P: Payload> {
  /// Number of consecutive syncs without a packet after which a thread yields its CPU to the other thread.
  ///
  /// That is rare with a CPU for each thread; with a single CPU the other thread can only run this way.
  private static var patience: Int { 4096 }

  /// Sends as fast as possible, until `limit` packets are sent or the measurement has stopped.
  @inline(never)
  static func send(
    _ port: NetmapPort, batch: Int, length: Int, upTo limit: UInt64, _ control: Control,
    _ progress: inout Progress
  ) throws(NetmapError) {
    var sent = progress.packets
    var idle = 0
    while sent < limit && !control.isIn(.stopped) {
      let count = fill(port, batch, length, sent, limit)
      try port.sync(.transmit)
      sent &+= UInt64(truncatingIfNeeded: count)
      idle = count == 0 ? idle &+ 1 : 0
      if idle == patience { offerCPU(&idle, &progress) }
    }
    progress.packets = sent
  }

  /// Receives as fast as possible, until `limit` packets have arrived or the measurement leaves `phase`.
  @inline(never)
  static func receive(
    _ port: NetmapPort, batch: Int, upTo limit: UInt64, _ control: Control,
    during phase: Control.Phase,
    _ progress: inout Progress, _ payload: inout P
  ) throws(NetmapError) {
    var received = progress.packets
    var state = payload
    var idle = 0
    while received < limit && control.isIn(phase) {
      try port.sync(.receive)
      let count = drain(port, batch, received, &state)
      received &+= UInt64(truncatingIfNeeded: count)
      idle = count == 0 ? idle &+ 1 : 0
      if idle == patience { offerCPU(&idle, &progress) }
    }
    progress.packets = received
    payload = state
  }

  /// Drives both ends: sends a batch, receives it, and repeats.
  ///
  /// `progress` counts received packets. The loop ends if a sent packet does not arrive.
  @inline(never)
  static func sendAndReceive(
    _ first: NetmapPort, _ second: NetmapPort, batch: Int, length: Int, upTo limit: UInt64,
    _ control: Control,
    during phase: Control.Phase, _ progress: inout Progress, _ payload: inout P
  ) throws(NetmapError) {
    var sent = progress.packets
    var taken = progress.packets
    var state = payload
    while taken < limit && control.isIn(phase) {
      sent &+= UInt64(truncatingIfNeeded: fill(first, batch, length, sent, limit))
      try first.sync(.transmit)
      try second.sync(.receive)
      let count = drain(second, batch, taken, &state)
      taken &+= UInt64(truncatingIfNeeded: count)
      // With one thread, no packet can be in flight here.
      if count == 0 && sent != taken { break }
    }
    progress.packets = taken
    payload = state
  }

  /// Fills up to `batch` free slots with the packets from number `sent` on.
  @inline(__always)
  private static func fill(
    _ port: NetmapPort, _ batch: Int, _ length: Int, _ sent: UInt64, _ limit: UInt64
  ) -> Int {
    var ring = port.transmitRing(0)
    let count = min(batch, Int(clamping: limit &- sent))
    return ring.append(upTo: count, length: length) { number, bytes in
      P.write(sent &+ UInt64(truncatingIfNeeded: number), to: &bytes)
    }
  }

  /// Takes up to `batch` packets; the first should have the number `received`.
  @inline(__always)
  private static func drain(
    _ port: NetmapPort, _ batch: Int, _ received: UInt64, _ payload: inout P
  ) -> Int {
    var ring = port.receiveRing(0)
    var sequence = received
    return ring.forEachSlot(upTo: batch) { packet in
      payload.take(packet, sequence)
      sequence &+= 1
    }
  }

  @inline(never)
  private static func offerCPU(_ idle: inout Int, _ progress: inout Progress) {
    sched_yield()
    progress.yields += 1
    idle = 0
  }
}
