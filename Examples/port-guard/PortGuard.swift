import Netmap
import Synchronization

/// A learning bridge on which each port may send from a few Ethernet addresses only: the first ones
/// that it uses.
///
/// The module drops and counts packets from other addresses. A port that has used up its addresses
/// can therefore neither send in the name of another station nor fill the bridge's address table.
///
/// The configuration is the number of addresses that a port may have; 1 when it is empty.
struct PortGuard: ~Copyable, SwitchModule {
  static var name: String { "port-guard" }

  private let limit: Int
  /// The addresses of each port, by index.
  private let owners = Mutex(Array(repeating: [MACAddress](), count: 254))
  private let violations = Atomic<UInt64>(0)

  init(configuration: String) throws(NetmapError) {
    guard configuration.isEmpty || Int(configuration).map({ (1...64).contains($0) }) == true else {
      throw NetmapError(
        .invalidArgument, "configure", Self.name, reason: "'\(configuration)' is not 1...64",
        remedy: "give the number of addresses that a port may have")
    }
    limit = Int(configuration) ?? 1
  }

  func lookup(_ batch: borrowing SwitchBatch) {
    let port = batch.port
    var known = owners.withLock { $0[port] }
    batch.route { packet in
      let source = packet.source
      if !known.contains(source) {
        guard claim(source, port) else {
          violations.wrappingAdd(1, ordering: .relaxed)
          return .drop
        }
        known.append(source)
      }
      packet.learn()
      return packet.learned
    }
  }

  /// Takes an address for a port, if the port may have another one.
  ///
  /// Rare, so it may lock and allocate.
  private func claim(_ address: MACAddress, _ port: Int) -> Bool {
    owners.withLock { owners in
      if owners[port].contains(address) { return true }
      guard owners[port].count < limit else { return false }
      owners[port].append(address)
      return true
    }
  }

  func portLeft(_ index: Int) {
    owners.withLock { $0[index] = [] }
  }

  var statistics: [SwitchModuleStatistic] {
    [
      SwitchModuleStatistic(
        "addresses", UInt64(owners.withLock { $0.reduce(0) { $0 + $1.count } })),
      SwitchModuleStatistic("violations", violations.load(ordering: .relaxed)),
    ]
  }
}

/// The function that the switch looks up in the library.
@c(netmap_switch_module)
public func netmapSwitchModule() -> UnsafeRawPointer {
  unsafe SwitchModuleLibrary.table(of: PortGuard.self)
}
