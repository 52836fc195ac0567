// PostgreSQL Flexible Server: private, Entra sign-in only, PgBouncer built in.

@description('Name of the server.')
param name string
@description('Region.')
param location string
@description('Tags of every resource.')
param tags object
@description('Compute.')
param skuName string
@description('Tier of the compute.')
@allowed(['GeneralPurpose', 'MemoryOptimized'])
param skuTier string
@description('Disk in GiB.')
param storageSizeGB int
@description('Standby server.')
@allowed(['ZoneRedundant', 'SameZone', 'Disabled'])
param highAvailability string
@description('Days that backups are kept.')
@minValue(7)
@maxValue(35)
param backupRetentionDays int
@description('Copies of the backups in the paired region.')
@allowed(['Enabled', 'Disabled'])
param geoRedundantBackup string
@description('A second server that only reads, in the same region.')
param readReplica bool
@description('Server connections that PgBouncer opens for the app.')
@minValue(10)
@maxValue(500)
param pgbouncerPoolSize int
@description('Subnet delegated to Flexible Server.')
param subnetId string
@description('Private DNS zone of the server.')
param privateDnsZoneId string
@description('Workspace for logs and metrics.')
param workspaceId string
@description('Name of the identity that migrates; it owns the tables.')
param migratorName string
@description('Object id of the identity that migrates.')
param migratorPrincipalId string
@description('Entra groups that administer the server.')
param administrators { name: string, objectId: string }[]

// Every value is a string. docs/deployment.md says why each is here; times are in ms, sizes in the unit of the parameter.
var parameters = [
  { name: 'require_secure_transport', value: 'on' }
  { name: 'ssl_min_protocol_version', value: 'TLSv1.2' }
  { name: 'pgbouncer.enabled', value: 'true' }
  { name: 'pgbouncer.pool_mode', value: 'transaction' }
  { name: 'pgbouncer.default_pool_size', value: string(pgbouncerPoolSize) }
  { name: 'pgbouncer.max_client_conn', value: '5000' }
  { name: 'pgbouncer.max_prepared_statements', value: '500' }
  { name: 'pgbouncer.query_wait_timeout', value: '10' }
  { name: 'idle_in_transaction_session_timeout', value: '60000' }
  { name: 'log_lock_waits', value: 'on' }
  { name: 'log_min_duration_statement', value: '1000' }
  { name: 'log_connections', value: 'on' }
  { name: 'log_disconnections', value: 'on' }
  { name: 'log_checkpoints', value: 'on' }
  { name: 'pg_qs.query_capture_mode', value: 'top' }
  { name: 'pgms_wait_sampling.query_capture_mode', value: 'all' }
  { name: 'track_io_timing', value: 'on' }
  { name: 'random_page_cost', value: '1.1' }
  { name: 'max_wal_size', value: '8192' }
  { name: 'wal_compression', value: 'on' }
  { name: 'autovacuum_vacuum_insert_scale_factor', value: '0.05' }
  { name: 'autovacuum_vacuum_cost_limit', value: '2000' }
]

// User connections that a server allows by its compute: max_connections less the 15 that Azure keeps.
var connectionLimits = {
  Standard_D2ds_v5: 844
  Standard_D4ds_v5: 1703
  Standard_D8ds_v5: 3422
  Standard_D16ds_v5: 4985
  Standard_D32ds_v5: 4985
}

resource server 'Microsoft.DBforPostgreSQL/flexibleServers@2025-08-01' = {
  name: name
  location: location
  tags: tags
  sku: {
    name: skuName
    tier: skuTier
  }
  properties: {
    createMode: 'Default'
    version: '15'
    storage: {
      storageSizeGB: storageSizeGB
      autoGrow: 'Enabled'
    }
    backup: {
      backupRetentionDays: backupRetentionDays
      geoRedundantBackup: geoRedundantBackup
    }
    highAvailability: highAvailability == 'Disabled' ? null : { mode: highAvailability }
    authConfig: {
      activeDirectoryAuth: 'Enabled'
      passwordAuth: 'Disabled'
      tenantId: tenant().tenantId
    }
    network: {
      delegatedSubnetResourceId: subnetId
      privateDnsZoneArmResourceId: privateDnsZoneId
      publicNetworkAccess: 'Disabled'
    }
    maintenanceWindow: {
      customWindow: 'Enabled'
      dayOfWeek: 2 // Tuesday, when nobody is on a weekend
      startHour: 3
      startMinute: 0
    }
  }
}

resource migrator 'Microsoft.DBforPostgreSQL/flexibleServers/administrators@2025-08-01' = {
  parent: server
  name: migratorPrincipalId
  properties: {
    principalType: 'ServicePrincipal'
    principalName: migratorName
    tenantId: tenant().tenantId
  }
}

@batchSize(1)
resource people 'Microsoft.DBforPostgreSQL/flexibleServers/administrators@2025-08-01' = [
  for administrator in administrators: {
    parent: server
    name: administrator.objectId
    dependsOn: [migrator]
    properties: {
      principalType: 'Group'
      principalName: administrator.name
      tenantId: tenant().tenantId
    }
  }
]

resource database 'Microsoft.DBforPostgreSQL/flexibleServers/databases@2025-08-01' = {
  parent: server
  name: 'shadowhubble'
  dependsOn: [people]
  properties: {
    charset: 'UTF8'
    collation: 'en_US.utf8'
  }
}

// One after the other: the server refuses a change while another is being made.
@batchSize(1)
resource configurations 'Microsoft.DBforPostgreSQL/flexibleServers/configurations@2025-08-01' = [
  for parameter in parameters: {
    parent: server
    name: parameter.name
    dependsOn: [database]
    properties: {
      value: parameter.value
      source: 'user-override'
    }
  }
]

resource replica 'Microsoft.DBforPostgreSQL/flexibleServers@2025-08-01' = if (readReplica) {
  name: '${name}-replica'
  location: location
  tags: tags
  dependsOn: [configurations]
  sku: {
    name: skuName
    tier: skuTier
  }
  properties: {
    createMode: 'Replica'
    sourceServerResourceId: server.id
    storage: { autoGrow: 'Enabled' }
    authConfig: {
      activeDirectoryAuth: 'Enabled'
      passwordAuth: 'Disabled'
      tenantId: tenant().tenantId
    }
    network: {
      delegatedSubnetResourceId: subnetId
      privateDnsZoneArmResourceId: privateDnsZoneId
      publicNetworkAccess: 'Disabled'
    }
  }
}

resource diagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'workspace'
  scope: server
  properties: {
    workspaceId: workspaceId
    logs: [{ categoryGroup: 'allLogs', enabled: true }]
    metrics: [{ category: 'AllMetrics', enabled: true }]
  }
}

@description('Resource id of the server.')
output id string = server.id
@description('Where the server answers, inside the network.')
output hostName string = server.properties.fullyQualifiedDomainName
@description('Name of the database.')
output databaseName string = database.name
@description('User connections that the server allows.')
output connectionLimit int = contains(connectionLimits, skuName) ? connectionLimits[skuName] : 844
