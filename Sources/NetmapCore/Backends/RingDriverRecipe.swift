/// The recipe for the driver of one ring: the plain data and descriptors from which any process that syncs the ring
/// makes it.
///
/// The control side of the backend writes it.
package struct RingDriverRecipe: Sendable {
  /// The kind of ring driver, as the module of the backends numbers it.
  package var kind: UInt32
  /// The numbers that the ring driver is made from.
  package var numbers: [UInt64]
  /// The descriptors that the ring driver is made from. They belong to the control side, and are valid while the
  /// ring is bound.
  package var files: [CInt]
  /// A descriptor that becomes readable when the interface has disappeared; -1 for none. It belongs to the control
  /// side.
  package var alarm: CInt = -1
  /// Descriptors that a process keeps open as long as it holds the ring. They keep kernel objects alive when the
  /// control side's process ends. They belong to the control side.
  package var held: [CInt] = []
  /// Identifies the memory by which the ring's peer, a ring of another port, may move packets to it and back; nil where
  /// there is none. Processes that sync rings with the same memory wake each other. It stays with the control side.
  package var sharedMemory: ObjectIdentifier?

  package init(kind: UInt32, numbers: [UInt64], files: [CInt]) {
    self.kind = kind
    self.numbers = numbers
    self.files = files
  }
}

/// How to obtain a ring driver.
@unsafe
package enum RingDriverSource {
  /// A ring driver that exists already, and works in the engine's process only.
  case here(RingDriverFunction)
  /// The recipe of a ring driver that any process can make.
  case anywhere(RingDriverRecipe)
}

/// A port's memory, as mapped by a process that syncs its rings.
@safe
package struct PortMemory: Sendable {
  package let region: SharedMemory
  private let owners: SharedMemory
  /// The owner of each buffer of the region.
  package let ownership: BufferOwnership

  /// - Parameters:
  ///   - region: The port's region.
  ///   - owners: The owner bytes, one for each buffer.
  ///   - bufferCount: How many buffers the region has.
  /// - Throws: ``NetmapError`` `EINVAL` when there are fewer bytes than that.
  package init(
    region: SharedMemory, owners: SharedMemory, bufferCount: Int
  ) throws(NetmapError) {
    guard bufferCount >= Region.reservedBuffers, bufferCount <= owners.byteCount else {
      throw NetmapError(
        .invalidArgument, "attach", "memory region", reason: "its description is damaged",
        remedy: "use one version of netmap for all processes")
    }
    self.region = region
    self.owners = owners
    ownership = unsafe BufferOwnership(bytes: owners.base, count: UInt32(bufferCount))
  }

  /// The owner bytes, to be passed to another process.
  package var ownerMemory: SharedMemory { owners }
}

/// A ring driver in this process.
@unsafe
package struct RingDriver {
  package let ring: RingDriverFunction
  /// The object that must live for as long as the ring driver is used.
  package let owner: AnyObject?

  package init(ring: RingDriverFunction, owner: AnyObject?) {
    unsafe self.ring = unsafe ring
    unsafe self.owner = owner
  }

  /// For rings whose packets the core itself moves.
  package static var none: RingDriver { unsafe RingDriver(ring: .none, owner: nil) }
}

/// Makes ring drivers for the rings of one port.
package protocol RingDriverMaker {
  /// Makes a ring driver from its recipe.
  ///
  /// - Throws: ``NetmapError`` when a mapping or a descriptor cannot be obtained.
  func ringDriver(of recipe: RingDriverRecipe) throws(NetmapError) -> RingDriver
}

/// Everything that a process needs to sync the rings of one binding on an interface.
package struct InterfaceRecipe: Sendable {
  package var memory: PortMemory
  /// The binding's transmit rings, then its receive rings.
  package var rings: [RingDriverRecipe]

  package init(memory: PortMemory, rings: [RingDriverRecipe]) {
    self.memory = memory
    self.rings = rings
  }
}
