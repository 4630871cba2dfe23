/// How far the reader of a receive ring has got. Plain data in shared memory.
package struct PacketReceiveCursor: BitwiseCopyable {
  /// The block that is read, or will be next.
  var block: UInt32 = 0
  /// Where the next frame begins in it, bytes; means nothing while ``framesLeft`` is 0.
  var offset: UInt32 = 0
  /// Frames of the block not yet taken; 0 while the block still is the kernel's.
  var framesLeft: UInt32 = 0
  /// Bytes of payload taken of a frame that is delivered in segments; 0 for a fresh frame.
  var payloadTaken: UInt32 = 0
  /// Whether the kernel has, or may have, dropped packets since it was last asked.
  var statisticsDue: UInt32 = 0
}

/// How far the writer of a transmit ring has got. Plain data in shared memory.
package struct PacketTransmitCursor: BitwiseCopyable {
  /// The frame to fill next.
  var next: UInt32 = 0
  /// The oldest frame that the kernel has not given back.
  var oldest: UInt32 = 0
  /// Frames from ``oldest`` up to ``next``.
  var underWay: UInt32 = 0
  /// Whether the slots up to the end of a packet are to be thrown away: its beginning was.
  var isDiscarding: UInt32 = 0
  /// The longest frame that the interface takes, bytes, without a VLAN tag. Written by the control
  /// half, also while packets move.
  package var frameLimit: UInt32
  /// Bytes handed to the kernel that it has not yet said to have sent.
  var bytesUnsent: UInt64 = 0

  package init(frameLimit: UInt32) {
    self.frameLimit = frameLimit
  }
}
