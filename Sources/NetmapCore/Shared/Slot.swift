public import CNetmap

/// One entry of a ring: a buffer, the number of bytes in it, and flags (`struct netmap_slot`).
///
/// 16 bytes, in the layout that netmap(4) fixes. A value is a snapshot: shared memory may have
/// changed since the load, so validate the copy and use only the copy.
@frozen
public struct Slot: Hashable, Sendable {
  /// Index of the buffer in the region; 0 and 1 are reserved.
  public var bufferIndex: UInt32

  /// Bytes of the packet (or of this fragment) in the buffer.
  public var length: UInt16

  public var flags: SlotFlags

  /// Free for the application's use, unless the application enabled offsets or sends indirect
  /// buffers.
  public var pointer: UInt64

  @inlinable
  public init(
    bufferIndex: UInt32, length: UInt16, flags: SlotFlags = [], pointer: UInt64 = 0
  ) {
    self.bufferIndex = bufferIndex
    self.length = length
    self.flags = flags
    self.pointer = pointer
  }
}

/// The `NS_*` bits of a slot.
@frozen
public struct SlotFlags: OptionSet, Hashable, Sendable {
  public var rawValue: UInt16

  @inlinable
  public init(rawValue: UInt16) {
    self.rawValue = rawValue
  }

  /// `NS_BUF_CHANGED`: the buffer index differs from the index that the engine last saw in this
  /// slot.
  @inlinable public static var bufferChanged: Self { Self(rawValue: UInt16(NS_BUF_CHANGED)) }
  /// `NS_REPORT`: request a notification when this slot has been sent.
  @inlinable public static var report: Self { Self(rawValue: UInt16(NS_REPORT)) }
  /// `NS_FORWARD`: hand this packet to the other side, host stack or NIC, at the next sync.
  @inlinable public static var forward: Self { Self(rawValue: UInt16(NS_FORWARD)) }
  /// `NS_NO_LEARN`: documented by netmap, without effect.
  @inlinable public static var noLearn: Self { Self(rawValue: UInt16(NS_NO_LEARN)) }
  /// `NS_INDIRECT`: the packet is at ``Slot/pointer`` (VALE transmit rings only).
  @inlinable public static var indirect: Self { Self(rawValue: UInt16(NS_INDIRECT)) }
  /// `NS_MOREFRAG`: the packet continues in the next slot.
  @inlinable public static var moreFragments: Self { Self(rawValue: UInt16(NS_MOREFRAG)) }
  /// `NS_TXMON`: a monitor took this packet from a transmit ring.
  @inlinable public static var monitoredTransmit: Self { Self(rawValue: UInt16(NS_TXMON)) }
}
