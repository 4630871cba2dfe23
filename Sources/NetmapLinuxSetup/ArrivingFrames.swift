internal import CLinux
internal import Glibc

/// What the senders of the frames that arrive on an interface may have left to it.
///
/// A kernel leaves work to the interface that sends a packet: it completes the checksum and inserts the VLAN tag. A
/// virtual interface with these offloads, which is the default, leaves this work to the receiver: it hands over the
/// bytes together with a description of what is missing. A network stack reads the description. AF_XDP passes only
/// the bytes on.
package enum ArrivingFrames: Hashable, Sendable {
  /// The frames are complete, as far as this package knows. So it is on every interface that receives from a wire.
  case complete
  /// The interface is a veth, and its peer, an interface of the same network namespace, leaves checksums.
  case unfinished(peer: String)
  /// The interface is a veth, and its peer, an interface of the same network namespace, leaves VLAN tags but no
  /// checksums.
  case untagged(peer: String)
  /// The interface is a veth, and its peer is in another network namespace.
  case unknown
  /// The interface is a tap, whose programs describe each frame with a virtio-net header (`IFF_VNET_HDR`).
  case describedByPrograms

  /// Finds out for an interface in the calling thread's network namespace.
  ///
  /// - Parameters:
  ///   - index: The interface.
  ///   - name: Its name.
  init(on index: UInt32, named name: String) {
    guard let link = try? LinkDescription(of: index, named: name) else {
      self = .complete
      return
    }
    switch link.kind {
    case "veth": self = Self.ofVeth(link)
    case "tun": self = link.hasVirtioHeaders ? .describedByPrograms : .complete
    default: self = .complete
    }
  }

  private static func ofVeth(_ link: LinkDescription) -> ArrivingFrames {
    guard link.value(of: IFLA_LINK_NETNSID) == nil, let peer = link.value(of: IFLA_LINK),
      let name = name(of: peer.number()), let request = try? InterfaceRequest(name),
      let leavesChecksums = request.leavesChecksums, let leavesTags = request.leavesTags
    else { return .unknown }
    return leavesChecksums
      ? .unfinished(peer: name) : leavesTags ? .untagged(peer: name) : .complete
  }

  private static func name(of index: UInt32) -> String? {
    var name = [CChar](repeating: 0, count: CLINUX_IFNAMSIZ)
    guard unsafe if_indextoname(index, &name) != nil else { return nil }
    return String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  /// Whether an XDP program can read the descriptions and complete the frames (``XDPProgramKind/finishing``).
  var canBeFinishedByXDP: Bool {
    switch self {
    case .unfinished, .untagged, .unknown: true
    case .complete, .describedByPrograms: false
    }
  }

  /// The remark of a port that passes frames on as they arrive; nil when there is nothing to say.
  func remark(for interface: String) -> String? {
    switch self {
    case .complete: nil
    case .unfinished(let peer):
      "TCP and UDP packets arrive on \(interface) with unfinished checksums, and their receivers drop them,"
        + " because tx checksum offload is on at its veth peer \(peer): ethtool -K \(peer) tx off"
    case .untagged(let peer):
      "packets lose their VLAN tags on the way to \(interface), because VLAN offload is on at its veth peer"
        + " \(peer): ethtool -K \(peer) txvlan off"
    case .unknown:
      "TCP and UDP packets may arrive on \(interface) with unfinished checksums, and their receivers drop them, while"
        + " tx checksum offload is on at its veth peer: ethtool -K PEER tx off, in the network namespace of the peer"
    case .describedByPrograms:
      "TCP and UDP packets may arrive on \(interface) with unfinished checksums, and their receivers drop them,"
        + " because programs write packets with virtio-net headers to this tap:"
        + " open it with @backend:name=packet"
    }
  }

  /// The remark of a port whose frames are completed.
  func remarkOfFinished(on interface: String) -> String {
    let sender =
      switch self {
      case .unfinished(let peer), .untagged(let peer): "its veth peer \(peer)"
      default: "its veth peer"
      }
    return "checksums and VLAN tags that \(sender) leaves to \(interface) are completed and"
      + " counted: netmap ports"
  }
}

extension LinkDescription {
  /// Whether programs that write to this tap put a virtio-net header before each frame.
  fileprivate var hasVirtioHeaders: Bool {
    value(of: IFLA_LINKINFO).flatMap { Self.value(of: IFLA_INFO_DATA, in: $0) }
      .flatMap { Self.value(of: IFLA_TUN_VNET_HDR, in: $0) }?.first == 1
  }
}
