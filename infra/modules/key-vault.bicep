// The vault: private, by role only, nothing in it can be purged.

@description('Name of the vault.')
param name string
@description('Region.')
param location string
@description('Tags of every resource.')
param tags object
@description('SHA-256 digests of the machine keys; no entry, no secret.')
param functionKeyDigests string[]
@description('Name of the secret that the secrets of webhooks derive from; empty for none.')
param webhookKeySecret string
@description('Subnet of the private endpoints.')
param endpointSubnetId string
@description('Zone of the vault endpoint.')
param vaultZoneId string
@description('Workspace for the audit log.')
param workspaceId string
@description('Object id of the app\'s identity.')
param appPrincipalId string

// Built-in role: Key Vault Secrets User
var secretsUser = subscriptionResourceId('Microsoft.Authorization/roleDefinitions', '4633458b-17de-408a-b874-0445c86b69e6')

resource vault 'Microsoft.KeyVault/vaults@2025-05-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    tenantId: tenant().tenantId
    sku: { family: 'A', name: 'standard' }
    enableRbacAuthorization: true
    enableSoftDelete: true
    softDeleteRetentionInDays: 90
    enablePurgeProtection: true
    publicNetworkAccess: 'Disabled'
    networkAcls: { bypass: 'None', defaultAction: 'Deny' }
  }
}

resource functionKeys 'Microsoft.KeyVault/vaults/secrets@2025-05-01' = if (!empty(functionKeyDigests)) {
  parent: vault
  name: 'function-key-sha256s'
  properties: {
    value: join(functionKeyDigests, ',')
    contentType: 'SHA-256 digests, separated by commas'
  }
}

resource readSecrets 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(vault.id, appPrincipalId, secretsUser)
  scope: vault
  properties: {
    roleDefinitionId: secretsUser
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
  }
}

module endpoint 'private-endpoint.bicep' = {
  name: 'vault-endpoint'
  params: {
    name: 'pe-${name}'
    location: location
    tags: tags
    subnetId: endpointSubnetId
    targetId: vault.id
    groupId: 'vault'
    zoneId: vaultZoneId
  }
}

resource diagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'workspace'
  scope: vault
  properties: {
    workspaceId: workspaceId
    logs: [{ categoryGroup: 'audit', enabled: true }]
    metrics: [{ category: 'AllMetrics', enabled: true }]
  }
}

@description('Name of the vault.')
output name string = vault.name
@description('What the app setting FUNCTION_KEY_SHA256S says; empty without a key.')
output functionKeysReference string = empty(functionKeyDigests)
  ? ''
  : '@Microsoft.KeyVault(SecretUri=${vault.properties.vaultUri}secrets/function-key-sha256s)'
@description('What the app setting WEBHOOK_SIGNING_KEY says; empty without the secret.')
output webhookKeyReference string = empty(webhookKeySecret)
  ? ''
  : '@Microsoft.KeyVault(SecretUri=${vault.properties.vaultUri}secrets/${webhookKeySecret})'
