internal import Glibc
internal import Netmap
internal import ToolSupport

/// `-f pong`: returns every frame with its addresses swapped; UDP ports stay unchanged.
enum Pong {
  static func run(_ worker: Worker) throws(TrafficFailure) {
    let limit = worker.packetLimit
    if limit > 0 {
      worker.log(
        "understood ponger \(limit) but don't know how to do it", function: "pong_body")
    }
    var tally = Tally()
    worker.counters.begin()
    worker.counters.awaited = .packets
    while !worker.stop.isRequested && (limit == 0 || tally.packets < limit) {
      switch try worker.waitForPackets(.seconds(1)) {
      case true:
        worker.counters.awaited = .nothing
        for index in 0..<worker.port.receiveRingCount {
          answer(worker, index, &tally)
        }
        worker.counters.publish(tally)
        if worker.configuration.busyWaits { try worker.link.sync(.transmit) }
      case false:
        if worker.configuration.busyWaits { continue }
        worker.log("poll error on queue \(worker.index): timeout", function: "pong_body")
      case nil: continue
      }
    }
    // The last replies are queued but not yet sent.
    try worker.link.sync(.transmit)
    worker.counters.complete()
  }

  /// Copies the packets of one receive ring to the first transmit ring.
  ///
  /// Drops packets without room there.
  private static func answer(_ worker: Worker, _ index: Int, _ tally: inout Tally) {
    let input = worker.port.receiveRing(index)
    let output = worker.port.transmitRing(0)
    let (source, target) = unsafe (input.unsafeRing, output.unsafeRing)
    let virtio = worker.configuration.virtioHeaderLength
    var (read, write) = unsafe (source.head, target.head)
    var (left, space) = (input.count, output.space)
    while left > 0 {
      let slots = unsafe packetSlots(source, at: read, left)
      let isSent = slots <= space
      for number in 0..<slots {
        if isSent {
          let (from, to) = unsafe (source.slot(read).pointee, target.slot(write))
          let length = unsafe min(Int(from.length), Int(target.bufferSize), Int(source.bufferSize))
          let packet = unsafe target.buffer(to.pointee.bufferIndex)
          unsafe memcpy(packet, source.buffer(from.bufferIndex), length)
          if number == 0, length >= virtio {
            unsafe swapAddresses(packet + virtio, length - virtio)
          }
          unsafe to.pointee.length = UInt16(truncatingIfNeeded: length)
          unsafe to.pointee.flags = number + 1 < slots ? .moreFragments : []
          write = unsafe target.next(write)
          tally.bytes &+= UInt64(length)
        }
        read = unsafe source.next(read)
      }
      left -= slots
      if isSent {
        space -= slots
        tally.packets &+= 1
      }
    }
    tally.events &+= 1
    unsafe source.cur = read
    unsafe source.head = read
    unsafe target.cur = write
    unsafe target.head = write
  }

  /// Number of slots of the packet that begins at `place`.
  private static func packetSlots(_ ring: Ring, at place: UInt32, _ available: Int) -> Int {
    var (place, count) = (place, 1)
    while count < available, unsafe ring.slot(place).pointee.flags.contains(.moreFragments) {
      place = unsafe ring.next(place)
      count += 1
    }
    return count
  }

  /// Swaps the Ethernet addresses, and the addresses of an IPv4 packet.
  ///
  /// Checksums stay valid, because a sum does not depend on the order of its terms.
  static func swapAddresses(_ frame: UnsafeMutableRawPointer, _ length: Int) {
    var bytes = unsafe MutableRawSpan(_unsafeStart: frame, byteCount: length)
    guard length >= FrameLayout.ethernetLength else { return }
    bytes.exchange(0, 6, count: 6)
    guard length >= 34, bytes[12] == 0x08, bytes[13] == 0 else { return }
    bytes.exchange(26, 30, count: 4)
  }
}
