internal import Glibc
package import NetmapCore

/// The numbers that a process needs to sync one ring over a packet socket. The control side provides them.
package struct PacketRecipe: Hashable, Sendable {
  package var direction: Direction
  /// Where the ring's words begin in the port's state memory, bytes: a ``PacketCursorLayout``.
  package var stateOffset: Int
  /// Slots of the netmap ring.
  package var slots: Int
  /// The interface's MTU when the ring was made, bytes.
  package var mtu: Int

  package init(_ direction: Direction, stateOffset: Int, slots: Int, mtu: Int) {
    self.direction = direction
    self.stateOffset = stateOffset
    self.slots = slots
    self.mtu = mtu
  }

  /// The same as a list of numbers, for another process.
  package var numbers: [UInt64] { [stateOffset, slots, mtu].map { UInt64($0) } }

  /// Reads such a list; nil when its numbers are out of range.
  init?(_ direction: Direction, _ numbers: [UInt64]) {
    guard numbers.count == 3, numbers[0] <= UInt64(Int32.max), (1...65_536).contains(numbers[1]),
      numbers[2] <= UInt64(PacketTransmitLayout.mtuLimit)
    else { return nil }
    self.init(
      direction, stateOffset: Int(numbers[0]), slots: Int(numbers[1]), mtu: Int(numbers[2]))
  }

  /// Bytes of the socket's ring.
  var byteCount: Int {
    direction == .receive
      ? PacketReceiveLayout(slots: slots).byteCount
      : PacketTransmitLayout(slots: slots, mtu: mtu).byteCount
  }
}

/// One ring over a packet socket, in a process that syncs it. Owns everything that the ring driver uses.
@safe
package final class PacketHalf {
  private let socket: OwnedFile
  private let state: SharedMemory
  private let memory: PortMemory
  private let ring: UnsafeMutableRawBufferPointer
  private let place: UnsafeMutableRawPointer
  private let direction: Direction

  /// As ``XDPRing/init(_:socket:state:memory:subject:)``.
  package init(
    _ recipe: PacketRecipe, socket: OwnedFile, state: SharedMemory, memory: PortMemory,
    subject: String
  ) throws(NetmapError) {
    guard recipe.stateOffset <= state.byteCount - PacketCursorLayout.byteCount,
      recipe.stateOffset % 128 == 0
    else {
      throw NetmapError(
        .invalidArgument, "attach", subject, reason: "the description of its memory is damaged",
        remedy: "use one version of netmap for all processes")
    }
    let byteCount = recipe.byteCount
    let mapping = unsafe mmap(
      nil, byteCount, PROT_READ | PROT_WRITE, MAP_SHARED, socket.descriptor, 0)
    guard unsafe mapping != MAP_FAILED, let mapping = unsafe mapping else {
      throw systemError("mmap", "\(subject) (packet ring, \(byteCount) bytes)")
    }
    self.socket = socket
    self.state = state
    self.memory = memory
    direction = recipe.direction
    unsafe ring = UnsafeMutableRawBufferPointer(start: mapping, count: byteCount)
    let words = unsafe state.base + recipe.stateOffset
    switch recipe.direction {
    case .receive:
      let half = UnsafeMutablePointer<PacketReceiver>.allocate(capacity: 1)
      unsafe half.initialize(
        to: PacketReceiver(
          socket: socket.descriptor, blocks: mapping,
          layout: PacketReceiveLayout(slots: recipe.slots), cursors: words,
          ownership: memory.ownership))
      unsafe place = UnsafeMutableRawPointer(half)
    case .transmit:
      let half = UnsafeMutablePointer<PacketSender>.allocate(capacity: 1)
      unsafe half.initialize(
        to: PacketSender(
          socket: socket.descriptor, frames: mapping,
          layout: PacketTransmitLayout(slots: recipe.slots, mtu: recipe.mtu),
          frameLimit: recipe.mtu + 14, cursors: words, ownership: memory.ownership))
      unsafe place = UnsafeMutableRawPointer(half)
    }
  }

  deinit {
    unsafe place.deallocate()
    unsafe munmap(ring.baseAddress, ring.count)
  }

  /// The ring driver. It must not outlive this object.
  package var ringDriver: RingDriverFunction {
    switch direction {
    case .receive:
      var result = unsafe RingDriverFunction(
        context: place, synchronize: PacketReceiver.synchronize)
      unsafe result.pollDescriptor = socket.descriptor
      unsafe result.pollEvents = Int16(POLLIN)
      return unsafe result
    case .transmit:
      // POLLOUT of a packet socket means that its buffer has room, which it nearly always has.
      var result = unsafe RingDriverFunction(context: place, synchronize: PacketSender.synchronize)
      unsafe result.isPolled = true
      return unsafe result
    }
  }

  /// The view of a transmit ring; traps for the other kind.
  package var sender: PacketSender {
    precondition(direction == .transmit)
    return unsafe place.assumingMemoryBound(to: PacketSender.self).pointee
  }

  /// The view of a receive ring; traps for the other kind.
  package var receiver: PacketReceiver {
    precondition(direction == .receive)
    return unsafe place.assumingMemoryBound(to: PacketReceiver.self).pointee
  }
}
