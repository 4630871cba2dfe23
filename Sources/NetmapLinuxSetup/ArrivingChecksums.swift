internal import CLinux
internal import Glibc

/// Whether the TCP and UDP packets that arrive on an interface have finished checksums.
///
/// A kernel leaves checksums to the interface that sends a packet. A veth with that offload, which is the default, leaves
/// them to the receiver: it hands the packet to its peer with an unfinished checksum, and only a network stack
/// knows of that. AF_XDP passes the bytes on.
package enum ArrivingChecksums: Hashable, Sendable {
  /// As far as this package knows: the interface is no veth, or its peer finishes them.
  case finished
  /// The interface is a veth, and its peer, an interface of the same network namespace, leaves them unfinished.
  case unfinished(peer: String)
  /// The interface is a veth, and its peer is in another network namespace.
  case unknown

  /// Finds out for an interface in the calling thread's network namespace.
  ///
  /// - Parameters:
  ///   - index: The interface.
  ///   - name: Its name.
  init(on index: UInt32, named name: String) {
    guard let link = try? LinkDescription(of: index, named: name), link.kind == "veth" else {
      self = .finished
      return
    }
    guard link.value(of: IFLA_LINK_NETNSID) == nil, let peer = link.value(of: IFLA_LINK),
      let peerName = Self.name(of: peer.number()),
      let leavesChecksums = (try? InterfaceRequest(peerName))?.leavesChecksums
    else {
      self = .unknown
      return
    }
    self = leavesChecksums ? .unfinished(peer: peerName) : .finished
  }

  private static func name(of index: UInt32) -> String? {
    var name = [CChar](repeating: 0, count: CLINUX_IFNAMSIZ)
    guard unsafe if_indextoname(index, &name) != nil else { return nil }
    return String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  /// The remark of a port that passes checksums on as they arrive; nil when there is nothing to say.
  func remark(for interface: String) -> String? {
    switch self {
    case .finished: nil
    case .unfinished(let peer):
      "TCP and UDP packets arrive on \(interface) with unfinished checksums, and their receivers drop them,"
        + " because tx checksum offload is on at its veth peer \(peer): ethtool -K \(peer) tx off"
    case .unknown:
      "TCP and UDP packets may arrive on \(interface) with unfinished checksums, and their receivers drop them, while"
        + " tx checksum offload is on at its veth peer: ethtool -K PEER tx off, in the network namespace of the peer"
    }
  }
}
