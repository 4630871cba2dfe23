internal import Netmap

/// Who sends and who receives in a measurement of a switch.
struct ValeShape: Hashable {
  /// Threads that send, each through a port of its own.
  var senders = 1
  /// Ports that receive, all of them read by one thread.
  var receivers = 1
  /// Ports on the switch, those that do nothing included.
  var ports = 2
  /// Whether anybody reads. Otherwise what counts is what was sent.
  var isRead = true
  /// Whether every packet is for everybody.
  var isBroadcast = false
  /// Whether the sender is a process of its own, on the engine of all processes.
  var isTwoProcesses = false
  /// Whether one thread does all of it, in turns.
  var isOneThread = false
  /// Bytes of a packet that is longer than a slot; nil for one slot of the frame's length.
  var packetBytes: Int?
}

extension Measurement.Case {
  /// What is measured on a switch; nil for the other cases.
  var vale: ValeShape? {
    switch self {
    case .valeOneThread: ValeShape(isOneThread: true)
    case .valeTwoThreads: ValeShape()
    case .valeTwoProcesses: ValeShape(isTwoProcesses: true)
    case .valeFull: ValeShape(ports: 252)
    case .valeBroadcast: ValeShape(receivers: 8, ports: 9, isBroadcast: true)
    case .valeManyToOne: ValeShape(senders: 3, ports: 4)
    case .valeUnread: ValeShape(isRead: false, isOneThread: true)
    case .valeJumbo: ValeShape(packetBytes: 65_536)
    case .valeModule, .valeModuleEach: ValeShape(isOneThread: true)
    default: nil
    }
  }
}

/// Addresses of the stations of a measurement.
enum ValeFrame {
  /// The unicast address of a port's station, first byte lowest.
  static func address(_ port: Int) -> UInt64 { 0x02 | UInt64(port + 1) << 40 }
  static var broadcast: UInt64 { 0xffff_ffff_ffff }

  /// Writes the two addresses of an Ethernet header.
  static func write(
    _ target: UInt64, _ source: UInt64, to bytes: inout MutableRawSpan
  ) {
    bytes.storeBytes(of: target | source << 48, toByteOffset: 0, as: UInt64.self)
    bytes.storeBytes(of: UInt32(truncatingIfNeeded: source >> 16), toByteOffset: 8, as: UInt32.self)
  }
}
