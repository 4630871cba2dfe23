/// What the control half says of one ring, for whichever process syncs it to make the data half of:
/// plain data and descriptors.
package struct BackendAttachment: Sendable {
  /// Which data half; the backends' module knows.
  package var kind: UInt32
  /// What it is to be made with.
  package var numbers: [UInt64]
  /// What it is to be made of. The control half's, valid while the ring is bound.
  package var files: [CInt]
  /// Becomes readable when the interface has gone; -1 for never. The control half's as well.
  package var alarm: CInt = -1
  /// Descriptors that a process with the ring just holds, so that what they stand for stays when the
  /// control half's process ends. The control half's as well.
  package var held: [CInt] = []

  package init(kind: UInt32, numbers: [UInt64], files: [CInt]) {
    self.kind = kind
    self.numbers = numbers
    self.files = files
  }
}

/// How the data half of a ring is come by.
@unsafe
package enum RingAttachment {
  /// It works in the engine's process only, and exists already.
  case here(BackendRing)
  /// It can be made in any process.
  case anywhere(BackendAttachment)
}

/// A port's memory, as a process that syncs its rings has it.
@safe
package struct PortMemory: Sendable {
  package let region: SharedMemory
  private let owners: SharedMemory
  /// Who holds each buffer of the region.
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

  /// The owner bytes, for passing on.
  package var ownerMemory: SharedMemory { owners }
}

/// A ring's data half in this process.
@unsafe
package struct DataHalf {
  package let ring: BackendRing
  /// What must live as long as the data half is used.
  package let owner: AnyObject?

  package init(ring: BackendRing, owner: AnyObject?) {
    unsafe self.ring = unsafe ring
    unsafe self.owner = owner
  }

  /// For rings whose packets the core moves itself.
  package static var none: DataHalf { unsafe DataHalf(ring: .none, owner: nil) }
}

/// Makes data halves for the rings of one port.
package protocol DataHalves {
  /// - Throws: ``NetmapError`` when a mapping or descriptor cannot be had.
  func dataHalf(of attachment: BackendAttachment) throws(NetmapError) -> DataHalf
}

/// All that a process needs to sync the rings of one binding on an interface.
package struct InterfaceAttachment: Sendable {
  package var memory: PortMemory
  /// The binding's transmit rings, then its receive rings.
  package var rings: [BackendAttachment]

  package init(memory: PortMemory, rings: [BackendAttachment]) {
    self.memory = memory
    self.rings = rings
  }
}
