internal import Glibc
internal import Netmap
internal import NetmapCore

/// The measured loops on interfaces: each moves at most `batch` packets per sync.
///
/// `Benchmarks/Sources/interface-reference` has the same loops in C: change both. Neither side reads or writes
/// the bytes of a frame during the measurement.
enum TrafficLoops {
  /// Number of consecutive syncs without a packet after which a thread yields its CPU.
  private static var patience: Int { 4096 }

  /// Sends as fast as possible, for `rounds` syncs.
  ///
  /// During warm-up it writes every frame; after that the buffers keep their contents.
  @inline(never)
  static func transmit(
    _ port: NetmapPort, batch: Int, _ frame: [UInt8], _ control: Control, _ packets: inout UInt64,
    rounds: Int
  ) throws(NetmapError) {
    let isWriting = control.isIn(.warming)
    var sent = packets
    var idle = 0
    for _ in 0..<rounds {
      var ring = port.transmitRing(0)
      let count: Int
      if isWriting {
        count = ring.append(upTo: batch, length: frame.count) { _, bytes in
          for index in frame.indices {
            bytes.storeBytes(of: frame[index], toByteOffset: index, as: UInt8.self)
          }
        }
      } else {
        count = ring.append(upTo: batch, length: frame.count)
      }
      try port.sync(.transmit)
      sent &+= UInt64(truncatingIfNeeded: count)
      idle = count == 0 ? idle &+ 1 : 0
      if idle == patience { offerCPU(&idle) }
    }
    packets = sent
  }

  /// Receives as fast as possible, until the measurement leaves `phase`.
  @inline(never)
  static func receive(
    _ port: NetmapPort, batch: Int, _ control: Control, during phase: Control.Phase,
    _ packets: inout UInt64, _ bytes: inout UInt64
  ) throws(NetmapError) {
    var (received, sum) = (packets, bytes)
    var idle = 0
    while control.isIn(phase) {
      try port.sync(.receive)
      var ring = port.receiveRing(0)
      let count = ring.forEachSlot(upTo: batch) { packet in sum &+= UInt64(packet.slot.length) }
      received &+= UInt64(truncatingIfNeeded: count)
      idle = count == 0 ? idle &+ 1 : 0
      if idle == patience { offerCPU(&idle) }
    }
    packets = received
    bytes = sum
  }

  /// Receives the packets that are left in the kernel after the last one was sent, for at most 10 seconds.
  ///
  /// On a busy machine this thread may not have run since the sender's last packet: packets that still wait are
  /// neither received nor lost.
  static func receiveRest(
    _ port: NetmapPort, _ packets: inout UInt64, _ bytes: inout UInt64
  ) throws(NetmapError) {
    let end = monotonicNanoseconds() + 10_000_000_000
    // Longer than the kernel keeps a block that is not full.
    while try !port.wait(for: .receive, timeout: .milliseconds(100)).isEmpty,
      monotonicNanoseconds() < end
    {
      var ring = port.receiveRing(0)
      let count = ring.forEachSlot { packet in bytes &+= UInt64(packet.slot.length) }
      packets &+= UInt64(truncatingIfNeeded: count)
    }
  }

  /// Forwards packets by swapping buffers, until the measurement leaves `phase`.
  @inline(never)
  static func forward(
    _ source: NetmapPort, _ target: NetmapPort, batch: Int, _ control: Control,
    during phase: Control.Phase,
    _ packets: inout UInt64
  ) throws(NetmapError) {
    var moved = packets
    var idle = 0
    while control.isIn(phase) {
      try source.sync(.receive)
      var received = source.receiveRing(0)
      var free = target.transmitRing(0)
      let isFull = free.isFull
      let count = received.forward(to: &free, limit: batch)
      if count > 0 || isFull { try target.sync(.transmit) }
      moved &+= UInt64(truncatingIfNeeded: count)
      idle = count == 0 ? idle &+ 1 : 0
      if idle == patience { offerCPU(&idle) }
    }
    packets = moved
  }

  @inline(never)
  private static func offerCPU(_ idle: inout Int) {
    sched_yield()
    idle = 0
  }
}
