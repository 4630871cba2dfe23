// SPDX-License-Identifier: BSD-2-Clause

import CNetmap
import CNetmap.LibNetmap
import Testing

/// The netmap ABI as Swift sees it.
///
/// Docs: netmap(4), netmap ABI 14. `Sources/CNetmap/abi.c` has the compiler check the C structures;
/// these tests check how Swift imports them.
@Suite("netmap ABI")
struct ABITests {
  /// A fact with its name, so that a failure identifies it.
  struct Fact: Sendable, CustomTestStringConvertible {
    let name: String
    let actual: Int
    let expected: Int

    init(_ name: String, _ actual: Int, _ expected: Int) {
      self.name = name
      self.actual = actual
      self.expected = expected
    }

    init(_ name: String, _ actual: Int32, _ expected: Int) {
      self.init(name, Int(actual), expected)
    }

    /// The size of a structure, which is also the distance between two in an array.
    init<T>(sizeOf type: T.Type, _ expected: Int) {
      self.init("\(type)", MemoryLayout<T>.stride, expected)
    }

    /// The offset of a member; -1 if Swift does not import it as a stored property.
    init<T>(_ name: String, _ member: PartialKeyPath<T>, _ expected: Int) {
      self.init(name, MemoryLayout<T>.offset(of: member) ?? -1, expected)
    }

    var testDescription: String { name }
  }

  @Test("structures have the ABI's sizes", arguments: sizes)
  func size(fact: Fact) {
    #expect(fact.actual == fact.expected)
  }

  static let sizes = [
    Fact(sizeOf: netmap_slot.self, 16),
    Fact(sizeOf: nmreq_header.self, 88),
    Fact(sizeOf: nmreq_register.self, 56),
    Fact(sizeOf: nmreq_port_info_get.self, 32),
    Fact(sizeOf: nmreq_vale_attach.self, 64),
    Fact(sizeOf: nmreq_vale_detach.self, 8),
    Fact(sizeOf: nmreq_vale_list.self, 8),
    Fact(sizeOf: nmreq_port_hdr.self, 8),
    Fact(sizeOf: nmreq_vale_newif.self, 16),
    Fact(sizeOf: nmreq_vale_polling.self, 16),
    Fact(sizeOf: nmreq_pools_info.self, 64),
    Fact(sizeOf: nmreq_sync_kloop_start.self, 8),
    Fact(sizeOf: nmreq_option.self, 24),
    Fact(sizeOf: nmreq_opt_extmem.self, 96),
    Fact(sizeOf: nmreq_opt_csb.self, 40),
    Fact(sizeOf: nmreq_opt_sync_kloop_mode.self, 32),
    Fact(sizeOf: nmreq_opt_offsets.self, 56),
    Fact(sizeOf: nm_csb_atok.self, 64),
    Fact(sizeOf: nm_csb_ktoa.self, 64),
    Fact(sizeOf: nmreq.self, 60),
    Fact(sizeOf: nm_ifreq.self, 272),
  ]

  @Test("members of imported structures have the ABI's offsets", arguments: members)
  func member(fact: Fact) {
    #expect(fact.actual == fact.expected)
  }

  static let members = [
    Fact("netmap_slot.buf_idx", \netmap_slot.buf_idx, 0),
    Fact("netmap_slot.len", \netmap_slot.len, 4),
    Fact("netmap_slot.flags", \netmap_slot.flags, 6),
    Fact("netmap_slot.ptr", \netmap_slot.ptr, 8),
    Fact("nmreq_header.nr_reqtype", \nmreq_header.nr_reqtype, 2),
    Fact("nmreq_header.nr_name", \nmreq_header.nr_name, 8),
    Fact("nmreq_header.nr_options", \nmreq_header.nr_options, 72),
    Fact("nmreq_header.nr_body", \nmreq_header.nr_body, 80),
    Fact("nmreq_register.nr_tx_slots", \nmreq_register.nr_tx_slots, 16),
    Fact("nmreq_register.nr_mem_id", \nmreq_register.nr_mem_id, 32),
    Fact("nmreq_register.nr_mode", \nmreq_register.nr_mode, 36),
    Fact("nmreq_register.nr_flags", \nmreq_register.nr_flags, 48),
    Fact("nmreq_vale_attach.port_index", \nmreq_vale_attach.port_index, 56),
    Fact("nmreq_option.nro_status", \nmreq_option.nro_status, 12),
    Fact("nmreq_opt_extmem.nro_info", \nmreq_opt_extmem.nro_info, 32),
    Fact("nmreq_opt_csb.csb_ktoa", \nmreq_opt_csb.csb_ktoa, 32),
    Fact("nmreq_opt_offsets.nro_min_gap", \nmreq_opt_offsets.nro_min_gap, 48),
    Fact("nmreq.nr_ringid", \nmreq.nr_ringid, 40),
    Fact("nmreq.nr_flags", \nmreq.nr_flags, 52),
  ]

  @Test("members that Swift cannot import have the ABI's offsets", arguments: offsets)
  func offset(fact: Fact) {
    #expect(fact.actual == fact.expected)
  }

  static let offsets = [
    Fact("ring.buf_ofs", NETMAP_RING_BUF_OFS_OFFSET, 0),
    Fact("ring.num_slots", NETMAP_RING_NUM_SLOTS_OFFSET, 8),
    Fact("ring.nr_buf_size", NETMAP_RING_NR_BUF_SIZE_OFFSET, 12),
    Fact("ring.ringid", NETMAP_RING_RINGID_OFFSET, 16),
    Fact("ring.dir", NETMAP_RING_DIR_OFFSET, 18),
    Fact("ring.head", NETMAP_RING_HEAD_OFFSET, 20),
    Fact("ring.cur", NETMAP_RING_CUR_OFFSET, 24),
    Fact("ring.tail", NETMAP_RING_TAIL_OFFSET, 28),
    Fact("ring.flags", NETMAP_RING_FLAGS_OFFSET, 32),
    Fact("ring.ts", NETMAP_RING_TS_OFFSET, 40),
    Fact("ring.ts.tv_sec", NETMAP_RING_TS_SEC_OFFSET, 40),
    Fact("ring.ts.tv_usec", NETMAP_RING_TS_USEC_OFFSET, 48),
    Fact("ring.offset_mask", NETMAP_RING_OFFSET_MASK_OFFSET, 56),
    Fact("ring.buf_align", NETMAP_RING_BUF_ALIGN_OFFSET, 64),
    Fact("ring.sem", NETMAP_RING_SEM_OFFSET, 128),
    Fact("ring.slot", NETMAP_RING_SLOTS_OFFSET, 256),
    Fact("ring, header", NETMAP_RING_HEADER_SIZE, 256),
    Fact("ring, alignment", NETMAP_RING_ALIGNMENT, 128),
    Fact("if.ni_name", NETMAP_IF_NAME_OFFSET, 0),
    Fact("if.ni_version", NETMAP_IF_VERSION_OFFSET, 16),
    Fact("if.ni_flags", NETMAP_IF_FLAGS_OFFSET, 20),
    Fact("if.ni_tx_rings", NETMAP_IF_TX_RINGS_OFFSET, 24),
    Fact("if.ni_rx_rings", NETMAP_IF_RX_RINGS_OFFSET, 28),
    Fact("if.ni_bufs_head", NETMAP_IF_BUFS_HEAD_OFFSET, 32),
    Fact("if.ni_host_tx_rings", NETMAP_IF_HOST_TX_RINGS_OFFSET, 36),
    Fact("if.ni_host_rx_rings", NETMAP_IF_HOST_RX_RINGS_OFFSET, 40),
    Fact("if.ring_ofs", NETMAP_IF_RING_OFS_OFFSET, 56),
    Fact("if, header", NETMAP_IF_HEADER_SIZE, 56),
    Fact("atok.head", NM_CSB_ATOK_HEAD_OFFSET, 0),
    Fact("atok.cur", NM_CSB_ATOK_CUR_OFFSET, 4),
    Fact("ktoa.hwcur", NM_CSB_KTOA_HWCUR_OFFSET, 0),
    Fact("ktoa.hwtail", NM_CSB_KTOA_HWTAIL_OFFSET, 4),
    Fact("csb, entry", NM_CSB_ENTRY_SIZE, 64),
    Fact("eventfds", NMREQ_OPT_SYNC_KLOOP_EVENTFDS_OFFSET, 24),
  ]

  @Test("constants have the ABI's values", arguments: constants)
  func constant(fact: Fact) {
    #expect(fact.actual == fact.expected)
  }

  static let constants = [
    Fact("NETMAP_API", NETMAP_API, 14),
    Fact("NETMAP_MIN_API", NETMAP_MIN_API, 14),
    Fact("NETMAP_MAX_API", NETMAP_MAX_API, 15),
    Fact("NETMAP_REQ_IFNAMSIZ", NETMAP_REQ_IFNAMSIZ, 64),
    Fact("NETMAP_REQ_MAXSIZE", NETMAP_REQ_MAXSIZE, 4096),
    Fact("NS_BUF_CHANGED", NS_BUF_CHANGED, 0x01),
    Fact("NS_MOREFRAG", NS_MOREFRAG, 0x20),
    Fact("NS_TXMON", NS_TXMON, 0x40),
    Fact("NS_PORT_MASK", NS_PORT_MASK, 0xff00),
    Fact("NR_FORWARD", NR_FORWARD, 0x04),
    Fact("NR_EXCLUSIVE", NR_EXCLUSIVE, 0x800),
    Fact("NR_NO_TX_POLL", NR_NO_TX_POLL, 0x20000),
    Fact("NETMAP_REQ_REGISTER", NETMAP_REQ_REGISTER, 1),
    Fact("NETMAP_REQ_CSB_ENABLE", NETMAP_REQ_CSB_ENABLE, 15),
    Fact("NETMAP_REQ_OPT_MAX", NETMAP_REQ_OPT_MAX, 6),
    Fact("NR_REG_ONE_SW", NR_REG_ONE_SW, 8),
    Fact("NETMAP_RING_MASK", NETMAP_RING_MASK, 0x0fff),
    Fact("NETMAP_BDG_LIST", NETMAP_BDG_LIST, 4),
    Fact("NETMAP_VNET_HDR_GET", NETMAP_VNET_HDR_GET, 12),
    Fact("NM_OPT_SYNC_KLOOP_DIRECT_RX", NM_OPT_SYNC_KLOOP_DIRECT_RX, 2),
    Fact("NETMAP_RING_DIR_TX", NETMAP_RING_DIR_TX, 1),
  ]

  #if os(FreeBSD)
    static let withoutArgument: UInt32 = 0x2000_0000
  #else
    static let withoutArgument: UInt32 = 0
  #endif

  @Test(
    "ioctl numbers are those of compiled programs",
    arguments: [
      (NETMAP_IOCTL_GINFO, 0xC03C_6991),
      (NETMAP_IOCTL_REGIF, 0xC03C_6992),
      (NETMAP_IOCTL_TXSYNC, withoutArgument | 0x6994),
      (NETMAP_IOCTL_RXSYNC, withoutArgument | 0x6995),
      (NETMAP_IOCTL_CONFIG, 0xC110_6996),
      (NETMAP_IOCTL_CTRL, 0xC058_6997),
    ] as [(UInt32, UInt32)])
  func ioctlNumber(actual: UInt32, expected: UInt32) {
    #expect(actual == expected)
  }

  @Test("a slot is made and read member by member")
  func slot() {
    var slot = netmap_slot(buf_idx: 7, len: 60, flags: UInt16(NS_BUF_CHANGED), ptr: 0)
    slot.flags |= UInt16(NS_MOREFRAG)
    #expect(slot.buf_idx == 7)
    #expect(slot.len == 60)
    #expect(slot.flags == 0x21)
  }

  @Test("the CSB helpers carry both cursors")
  func controlBlocks() {
    var toEngine = nm_csb_atok()
    unsafe nm_sync_kloop_appl_write(&toEngine, 5, 3)
    #expect(toEngine.cur == 5)
    #expect(toEngine.head == 3)

    var fromEngine = nm_csb_ktoa()
    fromEngine.hwcur = 8
    fromEngine.hwtail = 9
    var (tail, current) = (UInt32(0), UInt32(0))
    unsafe nm_sync_kloop_appl_read(&fromEngine, &tail, &current)
    #expect(tail == 9)
    #expect(current == 8)
  }

  /// Structures with pointers in them are unsafe to mention, so they are not in the tables above.
  @Test("the submodule has the C library's structures")
  func library() {
    let sizes = unsafe [
      MemoryLayout<nmport_d>.stride, MemoryLayout<nmem_d>.stride, MemoryLayout<nmctx>.stride,
      MemoryLayout<nmreq_opt_parser>.stride, MemoryLayout<nmreq_parse_ctx>.stride,
    ]
    #expect(sizes == [216, 48, 48, 304, 144])

    let offsets = unsafe [
      MemoryLayout<nmport_d>.offset(of: \.reg), MemoryLayout<nmport_d>.offset(of: \.fd),
      MemoryLayout<nmport_d>.offset(of: \.first_tx_ring),
    ]
    #expect(offsets == [88, 176, 192])
  }
}
