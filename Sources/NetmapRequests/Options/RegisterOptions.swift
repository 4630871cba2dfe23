/// The offsets that a program asks for: `NETMAP_REQ_OPT_OFFSETS`.
package struct RequestedOffsets: Hashable, Sendable {
  /// `nro_max_offset`, bytes. The server replaces it by the largest offset in force.
  package var maximum: UInt64
  /// `nro_initial_offset`, bytes.
  package let initial: UInt64
  /// `nro_offset_bits`; 0 stands for all.
  package let bits: UInt32
  /// `nro_tx_align`, which netmap does not use.
  package let transmitAlignment: UInt32
  /// `nro_min_gap`, bytes.
  package let minimumGap: UInt64
  /// What the server makes of the option.
  package var status = OptionStatus.unrecognized
}

/// Memory of the program that is to be the region: `NETMAP_REQ_OPT_EXTMEM`.
package struct RequestedMemory: Hashable, Sendable {
  /// `nro_usrptr`: where the memory begins.
  package let address: UInt64
  /// `nro_info`: the size of the memory, and the pools wanted. A count or a size of 0 stands for netmap's default. The
  /// server replaces such zeros by the defaults it has used.
  package var pools: PoolsDescription
  /// What the server makes of the option.
  package var status = OptionStatus.unrecognized
}

/// The arrays of control blocks for CSB mode: `NETMAP_REQ_OPT_CSB`.
package struct RequestedControlBlocks: Hashable, Sendable {
  /// `csb_atok`: the address of the program's `struct nm_csb_atok[]`, which the engine reads.
  package let applicationToEngine: UInt64
  /// `csb_ktoa`: the address of the program's `struct nm_csb_ktoa[]`, which the engine writes.
  package let engineToApplication: UInt64
  /// What the server makes of the option.
  package var status = OptionStatus.unrecognized
}

extension OptionList {
  var offsets: RequestedOffsets? {
    guard let entry = self[.offsets] else { return nil }
    typealias Layout = RequestLayout.Offsets
    return RequestedOffsets(
      maximum: buffer.load(entry.body + Layout.maximum),
      initial: buffer.load(entry.body + Layout.initial),
      bits: buffer.load(entry.body + Layout.bits),
      transmitAlignment: buffer.load(entry.body + Layout.transmitAlignment),
      minimumGap: buffer.load(entry.body + Layout.minimumGap))
  }

  /// Stores the status and the values that the server has set.
  mutating func store(_ offsets: RequestedOffsets?) {
    guard let offsets, let entry = self[.offsets] else { return }
    store(offsets.status, entry)
    buffer.store(offsets.maximum, at: entry.body + RequestLayout.Offsets.maximum)
  }

  var externalMemory: RequestedMemory? {
    guard let entry = self[.externalMemory] else { return nil }
    typealias Layout = RequestLayout.ExternalMemory
    return RequestedMemory(
      address: buffer.load(entry.body + Layout.address),
      pools: PoolsDescription(buffer, at: entry.body + Layout.pools))
  }

  /// Stores the status and the values that the server has set.
  mutating func store(_ memory: RequestedMemory?) {
    guard let memory, let entry = self[.externalMemory] else { return }
    store(memory.status, entry)
    buffer.store(memory.pools, at: entry.body + RequestLayout.ExternalMemory.pools)
  }

  var controlBlocks: RequestedControlBlocks? {
    guard let entry = self[.controlBlocks] else { return nil }
    typealias Layout = RequestLayout.ControlBlocks
    return RequestedControlBlocks(
      applicationToEngine: buffer.load(entry.body + Layout.applicationToEngine),
      engineToApplication: buffer.load(entry.body + Layout.engineToApplication))
  }

  /// Stores the status that the server has set.
  mutating func store(_ blocks: RequestedControlBlocks?) {
    guard let blocks, let entry = self[.controlBlocks] else { return }
    store(blocks.status, entry)
  }
}
