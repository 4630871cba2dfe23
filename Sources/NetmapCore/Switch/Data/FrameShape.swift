/// The format of a switch port's frames, in one word of its krings that senders read.
///
/// Bits 0...7: bytes of the virtio-net header before each frame. Bits 32...63: the longest frame
/// that the port accepts when a longer packet has to be segmented; 0 stands for an Ethernet frame.
struct FrameShape: Equatable {
  /// The default format: no headers, and frames of 1514 bytes.
  static let plain = FrameShape(0)
  /// The longest frame of a port that has never had headers, bytes.
  static let usualLimit = 1514

  let rawValue: UInt64

  @inline(__always)
  init(_ rawValue: UInt64) {
    self.rawValue = rawValue
  }

  /// - Parameters:
  ///   - headerLength: 0, 10 or 12.
  ///   - frameLimit: Bytes of the longest frame, network headers included.
  init(headerLength: Int, frameLimit: Int) {
    rawValue = UInt64(headerLength) | UInt64(frameLimit == Self.usualLimit ? 0 : frameLimit) << 32
  }

  /// 0, 10 or 12. Any other length in shared memory counts as 0.
  @inline(__always)
  var headerLength: UInt8 {
    let length = UInt8(truncatingIfNeeded: rawValue)
    return length == 0 || VirtioHeader.isLength(Int(length)) ? length : 0
  }

  /// The longest frame, bytes; at least an Ethernet frame.
  var frameLimit: Int { max(Self.usualLimit, min(Int(rawValue >> 32), 65_536)) }
}

extension EnginePort {
  /// Publishes a switch port's frame format in its krings, and whether its senders wait for room.
  func publishSwitchState() {
    guard ringKind == .vale else { return }
    for direction in Direction.allCases {
      for index in 0..<geometry.rings(direction) {
        unsafe describe(kring(direction, index), direction)
      }
    }
    if let member = membership {
      unsafe member.vale.segment.view.setHolding(holdsSenders, of: member.index)
    }
  }

  /// Publishes the same for one ring, which need not be open to senders yet.
  func describe(_ kring: KRing, _ direction: Direction) {
    unsafe kring.frameShape = FrameShape(headerLength: headerLength, frameLimit: frameLimit)
    if direction == .receive { unsafe kring.holdsSenders = holdsSenders }
  }

  /// Whether senders keep the packets for which the port has no room.
  var holdsSenders: Bool { holdsWhileAttached || holdingBindings > 0 }
}
